"""Energy: does the song fade away or blow up?"""

import math

import numpy as np

from gruvlike import _checks

_SILENCE_DB = -120.0


def energy_curve(samples: np.ndarray, hop: int) -> np.ndarray:
    """RMS level of each run of `hop` samples.

    Args:
        samples: (S,).
        hop: samples a reading; what is left over at the end is dropped.

    Returns:
        float64 (S // hop,) in dB, 0 = full scale (a square wave), a full sine -3.01; silence reads -120.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than `hop`.

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
    """Level of the song's end over the level of the reference.

    Args:
        song: samples (S,).
        reference: music that the song should be as loud as: its seed, or the training music.
        part: how much of the song is its end, in (0, 1].

    Returns:
        dB in about [-120, 120]: 0 = as loud as the reference, -120 = the song has died away, above 0 = it
        blows up. 0 if both are silent.

    Raises:
        ValueError: if either is not mono and finite, or `part` is out of range.

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
