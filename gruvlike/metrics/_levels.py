"""Energy: does the song fade away, or does its level explode?"""

import math

import numpy as np

from gruvlike import _checks

_SILENCE_DB = -120.0


def energy_curve(samples: np.ndarray, hop: int) -> np.ndarray:
    """RMS level of consecutive pieces of `hop` samples.

    Args:
        samples: Samples of shape (S,).
        hop: Samples in a piece. A shorter piece at the end is dropped.

    Returns:
        Float64 array of shape (S // hop,), in dB of full scale: 0 for a square wave at full scale, -3.01 for a sine at
        full scale, -120 for silence.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than `hop`.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> metrics.energy_curve(np.repeat([1.0, 0.1, 0.0], 50), hop=50).round(3)
        array([   0.,  -20., -120.])
    """
    samples = _checks.mono("samples", samples)
    hop = _checks.positive_int("hop", hop)
    if len(samples) < hop:
        raise ValueError(f"A reading takes hop={hop} samples. Received: {len(samples)} samples. Use a smaller hop.")
    blocks = samples[: len(samples) // hop * hop].reshape(-1, hop)
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 10 ** (_SILENCE_DB / 10)))


def energy_drift_db(song: np.ndarray, reference: np.ndarray, part: float = 0.25) -> float:
    """RMS level of the end of the song relative to the level of the reference.

    Args:
        song: Samples of shape (S,).
        reference: Samples whose level the song should keep: its seed, or the training music.
        part: Share of the song that is its end, in (0, 1].

    Returns:
        Decibels in about [-120, 120]: 0 means as loud as the reference, -120 a song that ends in silence, above 0 a
        song that ends louder. 0 if both are silent.

    Raises:
        ValueError: If either is not mono and finite, or `part` is out of range.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> seed = np.sin(np.arange(4000.0))
        >>> round(metrics.energy_drift_db(seed * np.linspace(1, 0, 4000), seed), 1)
        -16.8
    """
    song = _checks.mono("song", song)
    reference = _checks.mono("reference", reference)
    part = _checks.number("part", part, 0, 1, open_low=True)
    end = song[-math.ceil(part * len(song)) :]
    return _level_db(end) - _level_db(reference)


def _level_db(samples: np.ndarray) -> float:
    return float(energy_curve(samples, len(samples))[0])


def rms(samples: np.ndarray) -> float:
    """Root mean square of samples; 0 for silence."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
