"""Loops: does the song say anything new?"""

import numpy as np

from gruvlike import _checks
from gruvlike.metrics._spectra import frame_sizes, log_mel

_RANGE_DB = 80.0
_JUST_NOTICED_DB = 1.0


def novelty(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """How far each second is from the nearest earlier second.

    Seconds are compared as log-mel spectra (64 ms frames 16 ms apart, up to 40 bands, 80 dB deep), less the
    average spectrum of the whole: what all seconds share is not likeness, so that noise is new all the time. The
    distance of seconds a and b is `|a - b| / sqrt(|a|^2 + |b|^2 + |1 dB|^2)`, the earlier one may begin anywhere (in
    steps of 16 ms) but must have ended. The 1 dB makes a frozen sound, which has nothing but its average, like itself.

    Args:
        samples: (S,), two seconds or more; what is left over at the end is dropped.
        sample_rate: samples per second.

    Returns:
        float64, one value in [0, 1] a second from the first on: 0 = heard before, 1 = nothing in common with
        what was before. The first second has no earlier one and reads 1. It does not change with the gain. Silence
        after the first second reads 0.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than two seconds.

    References:
        J. Foote, "Visualizing music and audio using self-similarity", ACM Multimedia 1999.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> bar = np.random.default_rng(0).normal(size=16_000)
        >>> metrics.novelty(np.tile(bar, 3), sample_rate=8000).round(1)
        array([1., 1., 0., 0., 0., 0.])
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
    length = (sample_rate - frame_size) // hop + 1  # frames wholly inside a second
    starts = np.arange(len(samples) // sample_rate) * sample_rate // hop
    earlier = starts - -(-sample_rate // hop) + 1  # of these, the second that begins there has ended
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
    """Is the song stuck in a loop? One less the mean `novelty` of its second half.

    Args:
        samples: (S,), two seconds or more.
        sample_rate: samples per second.

    Returns:
        [0, 1]. A loop that came round in the first half, a frozen sound or silence reads about 1, white
        noise about 0.1, music 0.3 to 0.8 (the more it is built of exact loops, the higher): compare with the reference.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than two seconds.

    References:
        See `novelty`.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> bar = np.random.default_rng(0).normal(size=16_000)
        >>> round(metrics.repetition(np.tile(bar, 3), sample_rate=8000), 2)
        1.0
    """
    curve = novelty(samples, sample_rate)
    return float(1 - curve[len(curve) // 2 :].mean())


def _nearest(features: np.ndarray, sizes: np.ndarray, start: int, count: int) -> float:
    """Distance of the second that begins at frame `start` from the nearest of those that begin at the first `count`."""
    length = len(features) - len(sizes) + 1
    products = features[start : start + length] @ features[: count + length - 1].T
    dots = np.zeros(count)
    for offset in range(length):
        dots += products[offset, offset : offset + count]
    total = sizes[start] + sizes[:count]
    floor = _JUST_NOTICED_DB**2 * length * features.shape[1]
    nearest = ((total - 2 * dots) / (total + floor)).min()
    return float(np.sqrt(np.clip(nearest, 0, 1)))
