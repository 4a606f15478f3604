"""Copies in the spectrum: is a second of the song a second of the training music, with other phases?"""

import numpy as np

from gruvlike import _checks
from gruvlike._music import Sound
from gruvlike.metrics._spectra import frame_sizes, log_mel

_RANGE_DB = 40.0  # levels farther below the loudest one of their frame count as equal
_LEAST_DB = 0.1  # a second that changes less has no shape to compare: a held tone, silence
_PIECE = 1024  # places in the music that are compared at a time


def search(seconds: np.ndarray, sounds: list[Sound], rate: int) -> list[tuple[float, str | None, float]]:
    """Returns the best (score, track, seconds) for each row of `seconds`, samples (n, rate)."""
    shapes = np.stack([_colors(second, rate) for second in seconds])
    length = shapes.shape[1]
    shapes = (shapes - shapes.mean(axis=1, keepdims=True)).reshape(len(seconds), -1)
    shapes *= _inverse(np.linalg.norm(shapes, axis=1, keepdims=True), shapes.shape[1])
    frame_size, hop = frame_sizes(rate)
    span = frame_size + (length - 1) * hop
    best: list[tuple[float, str | None, float]] = [(0.0, None, 0.0)] * len(seconds)
    for name, samples in sounds:
        for start in range(0, max(len(samples) - span, 0) + 1, _PIECE * hop):
            piece = _checks.mono("corpus", samples[start : start + span + (_PIECE - 1) * hop])
            scores = _correlate(_colors(np.pad(piece, (0, max(span - len(piece), 0))), rate), shapes, length)
            places = scores.argmax(axis=1)
            for index, place in enumerate(places):
                score = min(float(scores[index, place]), 1.0)
                if score > best[index][0]:
                    best[index] = (score, name, (start + int(place) * hop) / rate)
    return best


def _colors(samples: np.ndarray, rate: int) -> np.ndarray:
    """Returns the log-mel spectra of samples without their loudness: float32 (T, bands), in dB; the mean of each is 0.

    The range is taken from each frame alone. So the gain does not matter, and silence is 0 in all bands.
    """
    levels = log_mel(samples, rate)
    levels = np.maximum(levels, levels.max(axis=1, keepdims=True) - np.float32(_RANGE_DB))
    return levels - levels.mean(axis=1, keepdims=True)


def _correlate(colors: np.ndarray, shapes: np.ndarray, length: int) -> np.ndarray:
    """Returns the correlation of unit vectors (n, length * bands) with all windows of `colors`, (n, windows).

    The mean of each band was subtracted from the unit vectors, so that only the norm of a window needs its own means.
    """
    windows = np.lib.stride_tricks.sliding_window_view(colors, length, axis=0).swapaxes(1, 2)
    windows = np.ascontiguousarray(windows).reshape(len(windows), -1)  # BLAS takes no rows that overlap
    squares, sums = (_running(x, length) for x in (np.square(colors).sum(axis=1, keepdims=True), colors))
    norms = np.sqrt(np.maximum(squares[:, 0] - np.square(sums).sum(axis=1) / length, 0))
    return (shapes @ windows.T) * _inverse(norms, shapes.shape[1]).astype(np.float32)


def _running(values: np.ndarray, length: int) -> np.ndarray:
    """Returns the sums of `length` rows in succession: (T, n) -> float64 (T - length + 1, n)."""
    sums = np.pad(np.cumsum(values, axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    return sums[length:] - sums[:-length]


def _inverse(norms: np.ndarray, size: int) -> np.ndarray:
    """Returns one over each norm of `size` numbers, and 0 for a norm that is too small to have a shape."""
    has_shape = norms > _LEAST_DB * size**0.5
    return np.where(has_shape, 1 / np.where(has_shape, norms, 1), 0)
