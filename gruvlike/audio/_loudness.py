"""Loudness: EBU R 128 where the sample rate is known, else the level (RMS)."""

import numpy as np
import soxr

_SILENCE = 1e-6  # RMS; full scale is 1
_BLOCK_SECONDS = 0.4  # of EBU R 128; a shorter sound is one block
_LEAST_RATE = 8000  # below, the filters of EBU R 128 reach the highest frequency: at 2000 Hz they are unstable


def level_db(samples: np.ndarray, sample_rate: int | None = None) -> float:
    """Returns the loudness of checked samples (S,) in LUFS, or without a rate the RMS in dB; silence has -inf."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype="float64"))))
    if rms < _SILENCE:
        return -np.inf
    return 20 * float(np.log10(rms)) if sample_rate is None else _lufs(samples, sample_rate)


def _lufs(samples: np.ndarray, sample_rate: int) -> float:
    import pyloudnorm

    if sample_rate < _LEAST_RATE:
        samples, sample_rate = soxr.resample(samples, sample_rate, 2 * _LEAST_RATE), 2 * _LEAST_RATE
    block = min(_BLOCK_SECONDS, (len(samples) - 1) / sample_rate)
    with np.errstate(divide="ignore"):  # a block of zeros has -inf
        return float(pyloudnorm.Meter(sample_rate, block_size=block).integrated_loudness(samples.astype("float64")))
