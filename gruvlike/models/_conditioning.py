"""A model whose stack reads more than the last frame: the windows give the numbers, the model makes frames of PCM."""

from collections.abc import Sequence
from typing import Any, TypeVar

import keras
from keras import ops

from gruvlike._contracts import Batch, TakesSupply, Tensor
from gruvlike._step._stateless import layers_of
from gruvlike.conditions import Condition, OwnPast, Supply
from gruvlike.encoders import Encoder
from gruvlike.models._residual import KnowsSpread
from gruvlike.normalizers import Normalizer

Data = TypeVar("Data")


def adapt(stack: keras.Model, normalizer: Normalizer) -> None:
    """Gives the layers that want it the deviation of each normalized number, where it is known."""
    if not normalizer.fitted or normalizer.spread is None:  # they come from the file of a model that is being loaded
        return
    for layer in layers_of(stack):
        if isinstance(layer, KnowsSpread):
            layer.adapt(normalizer.spread)


def supplied(windows: Data, conditions: Sequence[Condition], encoder: Encoder) -> Data:
    """Returns the windows, which from now on hold the numbers of the conditions.

    Raises:
        ValueError: If there are conditions, and the data are no windows of a corpus.
    """
    if isinstance(windows, TakesSupply):
        windows.supply = Supply(tuple(conditions), encoder) if conditions else None
    elif conditions and windows is not None:
        names = ", ".join(condition.name for condition in conditions)
        raise ValueError(
            f"A model with {names} needs windows of a corpus, which know their place in the music. Received: "
            f"{type(windows).__name__}. Make them by `corpus.windows(encoder, ...)`."
        )
    return windows


def numbers_of(
    conditions: Sequence[Condition], batch: Batch, encoder: Encoder, normalizer: Normalizer
) -> dict[str, Tensor]:
    """Returns the numbers (B, T, n) of the inputs of conditions, by the names of the inputs.

    Raises:
        ValueError: If the batch does not hold them.
    """
    given = batch.get("conditions", {})
    found: dict[str, Any] = {}
    for condition in conditions:
        if condition.name not in given:
            raise ValueError(
                f"The model reads {condition.name!r} besides the frames. Received: a batch without it. Give windows of "
                "a corpus to `fit`, `evaluate` or `predict`."
            )
        numbers = given[condition.name]
        if isinstance(condition, OwnPast):
            numbers = _frames(numbers, encoder, normalizer)
        found[condition.input_name] = ops.cast(numbers, "float32")
    return found


def _frames(pcm: Tensor, encoder: Encoder, normalizer: Normalizer) -> Tensor:
    """Returns normalized frames (B, T, n * W) of n windows a row, PCM (B, n, S)."""
    batch, count, size = ops.shape(pcm)
    frames = normalizer(encoder.encode(ops.reshape(pcm, (batch * count, size)), padded=False))
    steps, width = frames.shape[1:]
    frames = ops.transpose(ops.reshape(frames, (batch, count, steps, width)), (0, 2, 1, 3))
    return ops.reshape(frames, (batch, steps, count * width))
