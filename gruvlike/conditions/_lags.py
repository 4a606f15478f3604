"""Frames of the sound's own past: some beats before the frame to come, and from the last bars of the seed."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike.conditions._condition import OwnPast
from gruvlike.conditions._meter import Meter

_BAR = 4  # beats


@keras.saving.register_keras_serializable(package="gruvlike")
class Lags(OwnPast):
    """Lets a network read earlier frames of the same sound: those some beats before the frame to come.

    The lag counts from the frame that is predicted, not from the last one: so a drum that falls on every beat is seen
    at its attack. Where the music has no clear beat, a beat counts as half a second.

    Args:
        beats: The lags in beats; or
        frames: The lags in frames.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If there is no lag, both kinds are given, or a lag is not positive.
        TypeError: If the lags are not several.

    Example:
        >>> Lags(beats=(1, 4)).sources(np.array([0, 1]), Meter(period=25.0, first=0.0)).tolist()
        [[-25, -100], [-24, -99]]
    """

    def __init__(
        self,
        beats: Sequence[float] | None = None,
        frames: Sequence[int] | None = None,
        name: str = "lags",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        if (beats is None) == (frames is None):
            raise ValueError(
                f"Lags are in beats or in frames. Received: beats={beats!r}, frames={frames!r}. Give one of them."
            )
        self.beats: tuple[float, ...] | None = None
        self.frames: tuple[int, ...] | None = None
        if beats is not None:
            self.beats = _checks.several("beats", beats, lambda one: _checks.number("beats", one, 0, open_low=True))
        if frames is not None:
            self.frames = _checks.several("frames", frames, lambda one: _checks.positive_int("frames", one))
        self.count = len(self.beats or self.frames or ())
        self.needs_beat = self.beats is not None
        if not self.count:
            raise ValueError("There must be at least one lag. Received: none. Leave `Lags` out.")

    def _lags(self, meter: Meter) -> np.ndarray:
        if self.beats is None:
            return np.array(self.frames)
        return np.maximum(1, np.round(np.array(self.beats) * meter.period).astype(int))

    def lags(self, meter: Meter, room: int, random: np.random.Generator) -> np.ndarray:
        """Returns the lags in frames, (n,)."""
        return self._lags(meter)

    def sources(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the numbers (T, n) of the frames one lag earlier each."""
        return frames[:, None] - self._lags(meter)

    def reach(self, meter: Meter) -> int:
        """Returns the greatest lag in frames."""
        return int(self._lags(meter).max())


@keras.saving.register_keras_serializable(package="gruvlike")
class Anchor(OwnPast):
    """Lets a network read the last bars of the seed over and over, at the same place in the bar as the frame to come.

    Copies of copies blur. The seed is never overwritten, so a song that reads it keeps its rhythm. In training the
    anchor is an earlier bar of the same track: its distance is drawn for each window.

    Args:
        beats: Length of the part of the seed that is read, in beats.
        bars: In training: the greatest distance, in bars of four beats.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> anchor = Anchor(beats=8)
        >>> anchor.sources(np.array([0, 199, 200, 450]), Meter(period=25.0, first=0.0)).ravel().tolist()
        [-200, -1, -200, -150]
    """

    needs_beat = True

    def __init__(self, beats: float = 8, bars: int = 8, name: str = "anchor", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.beats = _checks.number("beats", beats, 0, open_low=True)
        self.bars = _checks.positive_int("bars", bars)

    def lags(self, meter: Meter, room: int, random: np.random.Generator) -> np.ndarray:
        """Returns the distance of a bar that is drawn among those that the track has, in frames, (1,)."""
        bar = _BAR * meter.period
        bars = int(np.clip(room // bar, 1, self.bars))
        return np.array([round(random.integers(1, bars + 1) * bar)])

    def sources(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the numbers (T, 1) of frames of the seed: as many whole lengths back as reach into it."""
        length = self.beats * meter.period
        lengths = np.maximum(1, np.ceil((frames + 1) / length))
        # Rounding can lead to frame 0, which is not of the seed.
        return np.minimum(frames - np.round(lengths * length).astype(int), np.minimum(frames, 0) - 1)[:, None]

    def reach(self, meter: Meter) -> int:
        """Returns its length in frames."""
        return round(self.beats * meter.period) + 1
