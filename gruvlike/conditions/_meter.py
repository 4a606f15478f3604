"""The beat of a sound, counted in frames."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gruvlike._contracts import BeatLike

_BAR = 4  # beats
_FALLBACK_SECONDS = 0.5  # music without a beat gets this one: 120 a minute


class Meter(NamedTuple):
    """The beat of a sound, counted in frames.

    Attributes:
        period: Frames from beat to beat.
        first: Beats from a downbeat to frame 0; NaN where the music has no clear beat.

    Example:
        >>> Meter(period=25.0, first=2.0).at(np.array([0, 50]))
        array([2., 4.])
    """

    period: float
    first: float

    def at(self, frames: np.ndarray) -> np.ndarray:
        """Returns the beats from a downbeat to each of the frames; NaN where there is no beat.

        Example:
            >>> Meter(period=25.0, first=float("nan")).at(np.array([0]))
            array([nan])
        """
        return self.first + frames / self.period

    @classmethod
    def mix(cls, meters: "Sequence[Meter]", weights: Sequence[float]) -> "Meter":
        """Returns a meter between others: the weighted means of their periods and of their places in a bar of four.

        Meters without a place in the bar have no part in its mean.

        Example:
            >>> Meter.mix([Meter(period=20.0, first=3.5), Meter(period=30.0, first=0.5)], [0.5, 0.5])
            Meter(period=25.0, first=0.0)
        """
        pairs = [(weight, meter) for weight, meter in zip(weights, meters, strict=True) if weight]
        if len(pairs) == 1:
            return pairs[0][1]
        placed = [
            (weight, np.exp(2j * np.pi * meter.first / _BAR)) for weight, meter in pairs if meter.first == meter.first
        ]
        first = np.angle(sum(weight * place for weight, place in placed)) / (2 * np.pi) * _BAR if placed else np.nan
        return cls(sum(weight * meter.period for weight, meter in pairs), float(np.round(first, 9)) + 0.0)

    @classmethod
    def of(cls, beat: BeatLike | None, frame_rate: float, seconds: float) -> "Meter":
        """Returns the meter of frames that follow each other `frame_rate` times a second.

        Args:
            beat: The beat of the sound; `None`, or one that is not clear: the meter has no place in the bar, and its
                beats last half a second.
            frame_rate: Frames a second.
            seconds: Time of the middle of frame 0, from the start of the sound.

        Example:
            >>> Meter.of(None, frame_rate=50.0, seconds=0.0).period
            25.0
        """
        if beat is None or not beat.clear:
            return cls(_FALLBACK_SECONDS * frame_rate, float("nan"))
        return cls(beat.beat_seconds * frame_rate, (seconds - beat.phase_seconds) / beat.beat_seconds)
