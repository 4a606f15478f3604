"""Parts that fit each other, and windows that fit a model: checked before anything is computed."""

import contextvars
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Batches
from gruvlike._step._forward import check_causal, plain
from gruvlike._step._stateless import is_functional, refuse_future
from gruvlike.conditions import conditions_of
from gruvlike.encoders import Encoder
from gruvlike.heads import Head
from gruvlike.models._estimates import check_optimizer
from gruvlike.normalizers import Normalizer

_HIGHEST_RATE = 2**31 - 1  # no sound file can say more
_IS_LOADING = contextvars.ContextVar("is_loading", default=False)


@runtime_checkable
class AtSampleRate(Protocol):
    """Sound that knows its sample rate."""

    sample_rate: int


def check_parts(encoder: Encoder, normalizer: Normalizer, stack: keras.Model, head: Head, width: int) -> None:
    """Raises unless the parts of a model fit each other; `width`: numbers that the stack reads."""
    if not normalizer.fitted and normalizer.features is None:
        raise ValueError(
            f"The normalizer must be fitted first. Received: {type(normalizer).__name__} without statistics. "
            "Call `normalizer.fit(corpus, encoder)`."
        )
    features = encoder.features
    if normalizer.features not in (None, features):
        raise ValueError(
            f"The normalizer must be fitted to the encoder's frames of {features} features. Received: one for "
            f"{normalizer.features}. Call `normalizer.fit(corpus, encoder)` with this encoder."
        )
    if not isinstance(stack, keras.Model):
        raise TypeError(
            f"The stack must be a Keras model. Received: {type(stack).__name__}. Put layers into a `keras.Sequential`."
        )
    refuse_future(stack)
    build_stack(stack, width)
    outputs = head.outputs(width)
    others = {condition.input_name: condition.numbers(width) for condition in conditions_of(stack)}
    if is_functional(stack):
        reads = [tuple(one.shape) for one in stack.inputs if one.name not in others]
        predicts = [tuple(one.shape) for one in stack.outputs]
        if reads != [(None, None, width)] or [shape[-1] for shape in predicts] != [outputs] or len(predicts[0]) != 3:
            raise ValueError(
                f"The stack must map (B, T, {width}) to (B, T, {outputs}): the numbers of a normalized frame, to "
                f"those that its {type(head).__name__} head wants, for any B and T. Received: a stack that reads "
                f"{_shown(reads)} and predicts {_shown(predicts)}. "
                "Build it with `recurrent_stack(normalizer.width, head=head, ...)`."
            )
    if not _IS_LOADING.get():  # nothing is run for a file: the song does so, if it has to feed the past again
        check_causal(stack, plain(stack, others), width, outputs)


@contextmanager
def loading() -> Iterator[None]:
    """Says, during the block, that models are made from the settings in a file."""
    before = _IS_LOADING.set(True)
    try:
        yield
    finally:
        _IS_LOADING.reset(before)


def check_version(version: object, newest: int) -> None:
    """Raises unless a file is of a format that this gruvlike reads."""
    if _checks.positive_int("format_version", version) > newest:
        raise ValueError(
            f"This gruvlike reads models up to format {newest}. Received: format {version}. Update gruvlike."
        )


def check_rates(sample_rate: int, high_pass_hz: float | None) -> float | None:
    """Returns the filter of the music, or raises if it, or the sample rate, is none that sound can have."""
    if sample_rate > _HIGHEST_RATE:
        raise ValueError(f"`sample_rate` must be at most {_HIGHEST_RATE} Hz. Received: sample_rate={sample_rate}.")
    if high_pass_hz is None:
        return None
    return _checks.number("high_pass_hz", high_pass_hz, 0, sample_rate / 2)


def check_fitted(normalizer: Normalizer) -> None:
    """Raises if the statistics of a model are missing, as in a copy that was made from the settings alone."""
    if not normalizer.fitted:
        raise ValueError(
            f"The model needs the statistics of its music. Received: a {type(normalizer).__name__} without them, as in "
            "a copy by `clone_model` or `from_config`, which have new weights. Give it the others by "
            "`copy.set_weights(model.get_weights())`."
        )


def check_compilation(optimizer: keras.optimizers.Optimizer, loss: object, weights: list[keras.Variable]) -> None:
    """Raises if a loss is unknown, or an optimizer does not go with the weights: before the model is changed."""
    if isinstance(loss, str):
        keras.losses.get(loss)
    check_optimizer(optimizer, weights)
    types = sorted({keras.backend.standardize_dtype(weight.dtype) for weight in weights})
    if getattr(optimizer, "global_clipnorm", None) and len(types) > 1:
        raise ValueError(
            "A gradient is clipped over weights of one type (an optimizer given by name clips). "
            f"Received: weights of {', '.join(types)}. Make all layers of one dtype, or give an optimizer object "
            "without `global_clipnorm`."
        )


def _shown(shapes: list[tuple[int | None, ...]]) -> str:
    return ", ".join(map(str, shapes))


def build_stack(stack: keras.Model, width: int) -> None:
    """Builds a stack whose weights wait for the shape of its input."""
    is_sequential = isinstance(stack, keras.Sequential)
    if getattr(stack, "inputs", None) is not None if is_sequential else stack.built:
        return
    try:
        if is_sequential:
            stack.build((None, None, width))
        else:
            stack(keras.ops.zeros((1, 8, width)))
    except Exception as error:  # a network of the user's own can raise anything
        raise ValueError(
            f"The stack must read frames (B, T, {width}). Received: {stack.name!r} ({type(stack).__name__}), which "
            f"could not be built for them: {_checks.words_of(error)}"
        ) from error


def check_batches(name: str, windows: object) -> None:
    """Raises unless windows can be read again, in any order: an array, windows of a corpus, a list of batches."""
    if not isinstance(windows, np.ndarray | Batches):
        raise TypeError(
            f"`{name}` must be windows of a corpus, an array of PCM (B, S) or a list of batches. "
            f"Received: {type(windows).__name__}, which can be read in one order only. Put its batches into a list."
        )


def count_of(data: object) -> int | None:
    """Returns how many windows or batches `data` says that it has; `None` if it does not know, or has no end."""
    try:
        return len(data) if isinstance(data, Sized) else None
    except TypeError:  # `tf.data` has a length, which it need not know
        return None


def check_windows(name: str, windows: object, sample_rate: int) -> None:
    """Raises unless there are windows, of the sample rate of the model."""
    rate = windows.sample_rate if isinstance(windows, AtSampleRate) else sample_rate
    if rate != sample_rate:
        raise ValueError(
            f"The windows must have the model's sample rate, {sample_rate} Hz. Received: {rate} Hz. "
            "Build the corpus at that rate."
        )
    if count_of(windows) == 0:
        raise ValueError(
            f"`{name}` must hold at least one window. Received: none. Give more music, for instance by "
            "`corpus.split(validation=...)` with a larger share, or leave validation out."
        )
