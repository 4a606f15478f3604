"""The Fréchet distance between two collections of music, in any space of features."""

from collections.abc import Callable

import numpy as np
import scipy.linalg

from gruvlike import _checks
from gruvlike._contracts import AnyMusic
from gruvlike._music import tracks
from gruvlike.metrics._spectra import log_mel

_FLOOR_DB = -80.0
_SHRINKAGE = 1e-6


def frechet_distance(embed: Callable[[np.ndarray], np.ndarray], real: AnyMusic, generated: AnyMusic) -> float:
    """Fréchet distance between two sets of feature vectors, each modeled as a normal distribution.

    The distance is `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` for means m and covariances C. With the features of a
    trained network it is called the Fréchet audio distance.

    **The distance depends on the number of vectors.** The covariance of few vectors has an error that always increases
    the distance: between two samples of the same music it falls about as one over the number of vectors. So compare
    only distances of sets of the same size. Take ten times as many vectors as each vector has numbers, or compare with
    the distance between two halves of the real music at the same size. The distance measures style, not quality: one
    good bar that is repeated for ever can score well.

    Args:
        embed: Function from samples (S,) to vectors (n, d); for instance
            `functools.partial(log_mel_statistics, sample_rate=16_000)`, or a network of your own.
        real: Samples, or several sounds (a sequence of samples, a `Corpus`), whose vectors form one set.
        generated: Samples or several sounds, in the same way.

    Returns:
        A distance of 0 or more, in squared units of the features. 0 means the same mean and covariance.

    Raises:
        ValueError: If a side has fewer than two vectors, if they are not finite, or if their widths differ.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> def pairs(samples):
        ...     return samples.reshape(-1, 2)
        >>> rng = np.random.default_rng(0)
        >>> round(metrics.frechet_distance(pairs, rng.normal(size=20_000), 3 + rng.normal(size=20_000)))
        18

    References:
        D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate
        Analysis 12, 1982. K. Kilgour et al., "Fréchet audio distance", Interspeech 2019.
    """
    (mean1, root1), (mean2, root2) = (_normal(embed, x, side) for x, side in ((real, "real"), (generated, "generated")))
    if len(mean1) != len(mean2):
        raise ValueError(f"`embed` must return vectors of one width. Received: {len(mean1)} and {len(mean2)}.")
    # The trace of (C1 C2)^(1/2) equals the sum of the singular values of C1^(1/2) C2^(1/2), which are never negative.
    cross = scipy.linalg.svdvals(root1 @ root2).sum()
    spread = np.square(root1).sum() + np.square(root2).sum() - 2 * cross
    return float(np.square(mean1 - mean2).sum() + max(spread, 0.0))


def log_mel_statistics(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean and standard deviation of the log-mel spectrum over each second: features that need no network.

    Args:
        samples: Samples of shape (S,), a second or longer. A part of a second at the end is dropped.
        sample_rate: Samples per second.

    Returns:
        Float32 array of shape (S // sample_rate, 80), in dB: 40 means, then 40 standard deviations (fewer bands below
        2000 samples per second). Levels are not normalized, so loudness counts; lower levels are raised to -80 dB.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than a second.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> metrics.log_mel_statistics(np.zeros(24_000, "float32"), sample_rate=8000).shape
        (3, 80)
    """
    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    if len(samples) < sample_rate:
        raise ValueError(
            f"A vector takes one second: sample_rate={sample_rate} needs as many samples. Received: {len(samples)}."
        )
    seconds = samples[: len(samples) // sample_rate * sample_rate].reshape(-1, sample_rate)
    levels = np.stack([np.maximum(log_mel(second, sample_rate), _FLOOR_DB) for second in seconds])
    return np.concatenate([levels.mean(axis=1), levels.std(axis=1)], axis=1)


def _normal(embed: Callable[[np.ndarray], np.ndarray], sounds: AnyMusic, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the vectors of `sounds`, and the square root of their covariance."""
    samples = (_checks.mono(side, sound.samples) for sound in tracks(sounds))
    vectors = np.concatenate([np.asarray(embed(one), np.float64) for one in samples])
    if vectors.ndim != 2 or len(vectors) < 2 or not np.isfinite(vectors).all():
        raise ValueError(
            f"`embed` must return finite vectors (n, d), two or more for each side. Received for `{side}`: "
            f"shape={vectors.shape}. Use more sound."
        )
    covariance = np.atleast_2d(np.cov(vectors, rowvar=False))
    width = len(covariance)
    covariance = covariance + _SHRINKAGE * np.trace(covariance) / width * np.eye(width)
    values, axes = scipy.linalg.eigh(covariance)
    return vectors.mean(axis=0), (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
