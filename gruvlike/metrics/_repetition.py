"""Loops: does the song repeat itself?"""

import numpy as np

from gruvlike import _checks
from gruvlike.metrics._spectra import frame_sizes, log_mel

_RANGE_DB = 80.0
_JUST_NOTICED_DB = 1.0  # about the smallest difference in level that people notice


def novelty(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Distance of each second from the most similar earlier second.

    Seconds are compared as log-mel spectra (frames of 64 ms, 16 ms apart, up to 40 bands, a range of 80 dB). First the
    average spectrum of the whole sound is subtracted, because features that all seconds share are no repetition; so
    noise counts as new. The distance of seconds a and b is `|a - b| / sqrt(|a|^2 + |b|^2 + |1 dB|^2)`. The earlier
    second may begin at any multiple of 16 ms, and must have ended. Because of the 1 dB, the seconds of a constant
    sound, which do not differ from the average, count as equal.

    Args:
        samples: Samples of shape (S,), two seconds or longer. A part of a second at the end is dropped.
        sample_rate: Samples per second.

    Returns:
        Float64 array with a value in [0, 1] for each second: 0 for an exact repetition, 1 for a second that has nothing
        in common with earlier ones. The first second gives 1, silence after it 0. The gain does not matter.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than two seconds.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> bar = np.random.default_rng(0).normal(size=16_000)
        >>> metrics.novelty(np.tile(bar, 3), sample_rate=8000).round(1)
        array([1., 1., 0., 0., 0., 0.])

    References:
        J. Foote, "Visualizing music and audio using self-similarity", ACM Multimedia 1999.
    """
    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    if len(samples) < 2 * sample_rate:
        raise ValueError(
            f"Novelty needs an earlier second: sample_rate={sample_rate} needs {2 * sample_rate} samples. "
            f"Received: {len(samples)}. Use a longer song."
        )
    frame_size, hop = frame_sizes(sample_rate)
    features = log_mel(samples, sample_rate)
    features = np.maximum(features, features.max() - _RANGE_DB)
    features = features - features.mean(axis=0)
    length = (sample_rate - frame_size) // hop + 1  # frames that lie wholly inside a second
    starts = np.arange(len(samples) // sample_rate) * sample_rate // hop
    earlier = starts - -(-sample_rate // hop) + 1  # number of starts whose second has ended by then
    sums = np.concatenate([[0.0], np.cumsum(np.square(features, dtype=np.float64).sum(axis=1))])
    sizes = sums[length:] - sums[:-length]
    return np.array(
        [
            1.0,
            *(
                _nearest(features, sizes, start, max(count, 1))
                for start, count in zip(starts[1:], earlier[1:], strict=True)
            ),
        ]
    )


def repetition(samples: np.ndarray, sample_rate: int) -> float:
    """One minus the mean `novelty` of the second half of the song: is it stuck in a loop?

    Args:
        samples: Samples of shape (S,), two seconds or longer.
        sample_rate: Samples per second.

    Returns:
        A number in [0, 1]: about 1 for a loop that began in the first half, for a constant sound and for silence; about
        0.1 for white noise; 0.3 to 0.8 for music, more if it consists of exact loops. Compare with the reference.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than two seconds.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> bar = np.random.default_rng(0).normal(size=16_000)
        >>> round(metrics.repetition(np.tile(bar, 3), sample_rate=8000), 2)
        1.0

    References:
        See `novelty`.
    """
    curve = novelty(samples, sample_rate)
    return float(1 - curve[len(curve) // 2 :].mean())


def _nearest(features: np.ndarray, sizes: np.ndarray, start: int, count: int) -> float:
    """Returns the least distance of the second at frame `start` from the seconds at the frames below `count`."""
    length = len(features) - len(sizes) + 1
    products = features[start : start + length] @ features[: count + length - 1].T
    dots = np.zeros(count)
    for offset in range(length):
        dots += products[offset, offset : offset + count]
    total = sizes[start] + sizes[:count]
    floor = _JUST_NOTICED_DB**2 * length * features.shape[1]
    nearest = ((total - 2 * dots) / (total + floor)).min()
    return float(np.sqrt(np.clip(nearest, 0, 1)))
