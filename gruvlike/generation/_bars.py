"""The pattern of a bar in frames: at which times of the bar they change, and which of their numbers."""

import numpy as np

from gruvlike.conditions import Meter

_BEATS, _TIMES = 4, 32  # a bar has four beats; its pattern has 32 times


def bar_pattern(frames: np.ndarray, meter: Meter, first: int) -> np.ndarray:
    """Returns the mean change of each number at each time of a bar, less that over the whole bar, (32, W).

    Args:
        frames: Frames (T, W).
        meter: Their beat. Where it has no place in the bar, the pattern is all zeros.
        first: The number of the first frame, as the meter counts.

    Example:
        >>> from gruvlike.conditions import Meter
        >>> strokes = np.zeros((65, 1))
        >>> strokes[[1, 33]] = 1.0
        >>> pattern = bar_pattern(strokes, Meter(period=8.0, first=0.0), 0)
        >>> int(pattern.argmax()), bool(abs(pattern.sum()) < 1e-6)
        (1, True)
    """
    pattern = np.zeros((_TIMES, frames.shape[1]), np.float32)
    changes = np.abs(np.diff(frames, axis=0))
    if np.isnan(meter.first) or not len(changes):
        return pattern
    bars = meter.at(np.arange(first + 1, first + len(frames))) / _BEATS
    times = np.floor(bars % 1.0 * _TIMES).astype(int) % _TIMES
    np.add.at(pattern, times, changes)
    pattern /= np.maximum(np.bincount(times, minlength=_TIMES), 1)[:, None]
    return pattern - pattern.mean(axis=0)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the correlation of two patterns, in [-1, 1]; 0 where one of them is all zeros.

    Example:
        >>> round(likeness(np.array([[1.0], [-1.0]]), np.array([[2.0], [-2.0]])), 3)
        1.0
    """
    size = float(np.sqrt(np.sum(one * one) * np.sum(other * other)))
    return float(np.sum(one * other)) / size if size else 0.0
