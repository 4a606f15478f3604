"""Parts that fit each other, and windows that fit a model: checked before anything is computed."""

from collections.abc import Sized
from typing import Protocol, runtime_checkable

import keras

from gruvlike.conditions import conditions_of
from gruvlike.encoders import Encoder
from gruvlike.heads import Head
from gruvlike.normalizers import Normalizer


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
    outputs = head.outputs(width)
    others = {condition.input_name for condition in conditions_of(stack)}
    (reads,) = [tuple(one.shape) for one in stack.inputs if one.name not in others] if others else [stack.input_shape]
    sides = ("reads", reads, width), ("predicts", stack.output_shape, outputs)
    for side, shape, numbers in sides:
        if len(shape) != 3 or shape[-1] != numbers:
            raise ValueError(
                f"The stack must map (B, T, {width}) to (B, T, {outputs}): the numbers of a normalized frame, to "
                f"those that its {type(head).__name__} head wants. Received: a stack that {side} {shape}. "
                "Build it with `recurrent_stack(normalizer.width, head=head, ...)`."
            )


def check_windows(name: str, windows: object, sample_rate: int) -> None:
    """Raises unless there are windows, of the sample rate of the model."""
    rate = windows.sample_rate if isinstance(windows, AtSampleRate) else sample_rate
    if rate != sample_rate:
        raise ValueError(
            f"The windows must have the model's sample rate, {sample_rate} Hz. Received: {rate} Hz. "
            "Build the corpus at that rate."
        )
    if isinstance(windows, Sized) and len(windows) == 0:
        raise ValueError(
            f"`{name}` must hold at least one window. Received: none. Give more music, for instance by "
            "`corpus.split(validation=...)` with a larger share, or leave validation out."
        )
