"""Arguments of `fit` and its like that a model of sound takes in its own way, or cannot take."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from gruvlike._contracts import Tensor, WindowsLike, as_batch
from gruvlike.encoders import Encoder


def bound(function: Callable[..., Any], x: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a method of Keras by their names there, however they were given.

    Raises:
        TypeError: If it has no such argument, or one is given twice.
    """
    found = inspect.signature(function).bind(x, *args, **kwargs).arguments
    return {**{name: value for name, value in found.items() if name != "kwargs"}, **found.get("kwargs", {})}


@contextmanager
def reading(*data: Any) -> Iterator[None]:
    """Raises the error of windows that could not be read, where the backend has made another one of it."""
    windows = [one for one in data if hasattr(one, "failure")]
    for one in windows:
        one.failure = None
    try:
        yield
    except Exception as error:
        failures = [one.failure for one in windows if one.failure is not None]
        if failures and error is not failures[0]:
            raise failures[0] from None
        raise


class Begun:
    """A function that knows whether it was called.

    Args:
        function: The function.

    Attributes:
        has_begun: Whether it was.
    """

    def __init__(self, function: Callable[..., Any]):
        self.has_begun, self._function = False, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        self.has_begun = True
        return self._function(*args, **kwargs)


def taken(options: dict[str, Any], encoder: Encoder) -> None:
    """Checks the data among the arguments of `fit` or `evaluate`, and puts weights of windows into their batches.

    Args:
        options: The arguments by their names; `x`, `validation_data` and `sample_weight` are changed.
        encoder: The encoder of the model.

    Raises:
        ValueError: If an argument would have no effect, or the arrays are no windows.
    """
    refuse_targets("y", options.get("y"))
    refuse_targets("class_weight", options.get("class_weight"))
    options["x"] = _weighted("x", options.get("x"), options.pop("sample_weight", None), encoder)
    held_out = options.get("validation_data")
    if isinstance(held_out, list | tuple):
        data, y, weights = (*held_out, None, None, None)[:3]
        refuse_targets("validation_data", y)
        options["validation_data"] = _weighted("validation_data", data, weights, encoder)
    elif held_out is not None:
        options["validation_data"] = _weighted("validation_data", held_out, None, encoder)
    _refuse_dropped(options)


def refuse_targets(name: str, value: object) -> None:
    """Raises if targets or weights of classes are given: a model of sound predicts the next frame of its input."""
    if value is not None:
        raise ValueError(
            "An AudioModel makes its targets itself: the frame after each frame. "
            f"Received: {name} with targets or classes, {type(value).__name__}. Leave them out, or train `model.stack` "
            "(a plain Keras model from normalized frames to outputs) by its own `fit`. To count windows more or less, "
            "give `sample_weight`."
        )


def _refuse_dropped(options: Mapping[str, Any]) -> None:
    """Raises if an argument is given that Keras would not read."""
    pairs = (("x", "batch_size"), ("validation_data", "validation_batch_size"))
    for data, name in pairs:
        size = getattr(options.get(data), "batch_size", None)
        if isinstance(options.get(data), WindowsLike) and options.get(name) not in (None, size):
            raise ValueError(
                f"Windows of a corpus come in batches of their own. Received: {name}={options[name]!r} beside batches "
                f"of {size}. Give it to `corpus.windows(..., batch_size={options[name]!r})`."
            )
    if options.get("validation_data") is None and not options.get("validation_split"):
        names = [name for name in ("validation_steps", "validation_batch_size") if options.get(name) is not None]
        if names:
            raise ValueError(
                f"`{names[0]}` is about validation. Received: {names[0]}={options[names[0]]!r} and no validation "
                "music. Give `validation_data`, or leave it out."
            )


def _weighted(name: str, data: Any, weights: Any, encoder: Encoder) -> Any:
    """Returns the data, with the weights of their windows in them."""
    is_array = isinstance(data, np.ndarray | dict)
    batch: dict[str, Any] = dict(as_batch(data)) if is_array else {}
    if is_array:
        check_pcm(name, batch.get("pcm"), encoder)
    if weights is None:
        return data
    if not is_array:
        raise ValueError(
            f"`sample_weight` belongs to an array of windows. Received: {name} that is a {type(data).__name__}. Let "
            'each batch hold its own: {"pcm": ..., "sample_weight": (B,) or (B, T)}.'
        )
    weights = np.asarray(weights, "float32")
    if weights.ndim not in (1, 2) or len(weights) != len(batch["pcm"]):
        raise ValueError(
            "`sample_weight` must have a number for each window, (B,), or for each frame that it predicts, (B, T). "
            f"Received: shape {weights.shape} for {len(batch['pcm'])} windows."
        )
    return {**batch, "sample_weight": weights}


def check_pcm(name: str, pcm: Any, encoder: Encoder) -> None:
    """Raises unless `pcm` is windows of sound that hold at least two frames; unknown sizes pass."""
    shape = getattr(pcm, "shape", None)
    if shape is None or len(shape) != 2:
        kind = type(pcm).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            f"`{name}` must be windows of mono sound, PCM (B, S), alone or as {{'pcm': ...}}. Received: {kind}. Mix "
            "channels down, and give sound, not frames: the model encodes it."
        )
    if shape[1] is not None and not ops.is_tensor(shape[1]) and shape[1] < encoder.span(2):
        raise ValueError(
            f"Windows must hold two frames, one to read and one to predict: {encoder.span(2)} samples. "
            f"Received: `{name}` with {shape[1]}. Use longer windows (more `steps`)."
        )


def weights_of(batch: Any, weights: Tensor | None, target: Tensor) -> Tensor | None:
    """Returns the weights that Keras was given, or else those in the batch, one for each frame of targets: (B, T)."""
    found = batch.get("sample_weight") if weights is None and isinstance(batch, dict) else weights
    if found is None:
        return None
    steps = found if len(found.shape) == 2 else ops.expand_dims(found, -1)
    # Keras would count a weight of a window once, and its frames each.
    return ops.broadcast_to(steps, ops.shape(target)[:2])


def replicas(model: keras.Model) -> int:
    """Returns on how many devices a strategy of TensorFlow trains a model at once."""
    return getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
