"""Statistics of the frames of music: one pass, constant memory."""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from gruvlike._contracts import AnyMusic, FramesOfSound, Music
from gruvlike._music import rows, tracks

SMALLEST_SCALE = 1e-8  # a feature with a smaller scale counts as constant
FLOAT32_NOISE = float(np.finfo("float32").eps)
_SAMPLES_AT_ONCE = 2**18  # samples of a batch that are encoded together; their frames fit in the cache


class Statistics(NamedTuple):
    """Statistics of each feature over all training frames, float64 `(F,)`, as `measure` returns them.

    Attributes:
        frames: Number of frames.
        mean, variance: Of each feature.
        low, high: Least and greatest value of each feature.
    """

    frames: int
    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray


def measure(music: AnyMusic, encoder: FramesOfSound) -> Statistics:
    """Returns the statistics of all frames of music: one pass, constant memory, float64.

    Args:
        music: As in `Affine.fit`.
        encoder: The `Encoder` that makes the frames.

    Returns:
        The `Statistics` of each feature.

    Raises:
        ValueError: If no track is as long as one frame, or a value is not finite.

    Example:
        >>> import gruvlike as gl
        >>> statistics = gl.normalizers.measure(np.array([0.0, 1.0, 0.5, 3.0]), gl.TimeBlocks(2))
        >>> statistics.frames, statistics.mean.tolist(), statistics.high.tolist()
        (2, [0.25, 2.0], [0.5, 3.0])

    References:
        Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """
    total = functools.reduce(_merge, map(_part, frames_of(music, encoder)))
    return total._replace(variance=total.variance / total.frames)


def frames_of(music: AnyMusic, encoder: FramesOfSound) -> Iterator[np.ndarray]:
    """Yields the frames of music that lie wholly inside a track, (n, F), piece by piece.

    Args:
        music: As in `Affine.fit`.
        encoder: The `Encoder` that makes the frames.

    Yields:
        Float32 frames (n, F), n > 0.

    Raises:
        ValueError: If no track is as long as one frame, or a sample is not finite.
    """
    from tqdm import tqdm

    found, longest = False, 0
    count = len(music) if isinstance(music, Music) else None
    for samples in tqdm(
        _samples(music), total=count, desc="statistics", unit="track", delay=3, leave=False, disable=None
    ):
        longest = max(longest, samples.shape[-1])
        for frames in encoder.encode_stream([samples], padded=False):
            found = True
            yield frames.reshape(-1, frames.shape[-1])
    if not found:
        raise ValueError(
            f"A corpus must hold at least one whole frame, {encoder.span(1)} samples. "
            f"Received: a longest track of {longest} samples. Use smaller blocks or longer tracks."
        )


def noise_of(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Returns the deviation of each feature (F,) up to which it is rounding noise of a transform in float32."""
    return np.maximum(FLOAT32_NOISE * np.maximum(np.abs(mean), np.hypot(mean, std).max()), SMALLEST_SCALE)


def _samples(music: AnyMusic) -> Iterable[np.ndarray]:
    """Returns the samples of each track, (S,), or of several rows of a batch at once, (B, S): rows may be short."""
    if isinstance(music, np.ndarray) and music.ndim == 2:
        return rows(music, max(1, _SAMPLES_AT_ONCE // max(1, music.shape[1])))
    return (samples for _, samples in tracks(music))


def _part(frames: np.ndarray) -> Statistics:
    """Returns the statistics of frames (n, F), with the sum of squared deviations as `variance`."""
    mean = frames.mean(axis=0, dtype="float64")
    deviations = ((frames - mean) ** 2).sum(axis=0)
    return Statistics(len(frames), mean, deviations, frames.min(axis=0), frames.max(axis=0))


def _merge(a: Statistics, b: Statistics) -> Statistics:
    count = a.frames + b.frames
    shift = b.mean - a.mean
    deviations = a.variance + b.variance + shift**2 * (a.frames * b.frames / count)
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    return Statistics(count, a.mean + shift * (b.frames / count), deviations, low, high)
