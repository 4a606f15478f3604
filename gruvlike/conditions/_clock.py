"""The place of the frame to come in beat and bar."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._contracts import Shape, Tensor
from gruvlike.conditions._condition import Schedule
from gruvlike.conditions._meter import Meter

_BAR = 4  # beats


@keras.saving.register_keras_serializable(package="gruvlike")
class Clock(Schedule):
    """Tells a network the place of the frame to come in beat and bar, as sines and cosines.

    For b beats since a downbeat and each harmonic h the network reads sin(2 pi h b) and cos(2 pi h b): with h = 1/4
    once around in a bar of four beats, with h = 1 once a beat. All numbers are 0 where the music has no clear beat.

    Args:
        harmonics: How often each pair turns around in a beat.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If there is no harmonic, or one is not positive.
        TypeError: If the harmonics are not several.

    Example:
        >>> clock = Clock(harmonics=(0.25, 1))
        >>> beats = clock.at(np.array([0, 25]), Meter(period=25.0, first=0.0))
        >>> abs(ops.convert_to_numpy(clock(beats[None]))[0, 1]).round(3).tolist()
        [1.0, 0.0, 0.0, 1.0]
    """

    needs_beat = True

    def __init__(self, harmonics: Sequence[float] = (0.25, 0.5, 1, 2, 4), name: str = "clock", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.harmonics = _checks.several(
            "harmonics", harmonics, lambda one: _checks.number("harmonics", one, 0, open_low=True)
        )
        if not self.harmonics:
            raise ValueError("`harmonics` must hold at least one number. Received: harmonics=(). Leave the clock out.")

    def numbers(self, width: int) -> int:
        """Returns 1: beats since a downbeat."""
        return 1

    def at(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the beats since the last downbeat, (T, 1), in [0, 4); NaN where there is no beat."""
        return (meter.at(frames) % _BAR).astype("float32")[:, None]

    def call(self, numbers: Tensor) -> Tensor:
        """Returns sines and cosines (B, T, 2 * harmonics) of beats (B, T, 1)."""
        beats = ops.cast(numbers, "float32")
        is_clear = ops.equal(beats, beats)  # NaN alone differs from itself
        turns = ops.convert_to_tensor(2 * np.pi * np.array(self.harmonics, "float32"))
        angles = ops.where(is_clear, beats, 0.0) * turns
        pairs = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return ops.where(is_clear, pairs, 0.0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (B, T, 2 * harmonics)."""
        return (*input_shape[:-1], 2 * len(self.harmonics))
