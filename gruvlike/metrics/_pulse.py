"""Onsets: is there a beat, and how many notes begin?"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage

from gruvlike import _checks
from gruvlike.metrics._levels import rms
from gruvlike.metrics._spectra import frame_sizes

_SHORTEST_LAG, _LONGEST_LAG = 0.25, 2.0  # seconds from a beat to the next, or to one of the next
_SILENCE_DB = -80.0
_MELS = 128
# A peak is the highest of the last 30 ms, and higher than the mean of 100 ms before and behind by a share of the range.
_PEAK_SECONDS, _MEAN_SECONDS, _PEAK_HEIGHT = 0.03, 0.1, 0.07


class Envelope(NamedTuple):
    """The onset envelope of a sound, which `pulse_of` and `onset_rate_of` share.

    Attributes:
        strengths: Float32 (T,): mean rise of the log-mel spectrum from each frame to the next, in dB. All zeros for
            silence.
        hop: Samples from frame to frame.
        sample_rate: Samples per second.
        size: Samples of the sound.
    """

    strengths: np.ndarray
    hop: int
    sample_rate: int
    size: int


def pulse(samples: np.ndarray, sample_rate: int) -> float:
    """Clarity of the beat: the tallest peak of the onset envelope's autocorrelation between 0.25 s and 2 s.

    The onset envelope is the mean rise of the log-mel spectrum (frames of 128 ms, 16 ms apart, up to 128 bands, a range
    of 80 dB). The sum for each lag is divided by the number of its terms, so that a slow beat counts as much as a fast
    one. The gain does not matter.

    Args:
        samples: Samples of shape (S,), four seconds or longer.
        sample_rate: Samples per second.

    Returns:
        A number of at most about 1: 1 for onsets that return exactly, about 0.1 for noise (more for a short sound), 0
        for silence; 0.6 to 0.8 for electronic music. Compare with the reference: a loop has a high pulse, too.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than four seconds.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=32_000)
        >>> beats = np.arange(32_000) % 2000 < 200
        >>> round(metrics.pulse(beats * noise, 4000), 1), metrics.pulse(noise, 4000) < 0.3
        (0.9, True)

    References:
        S. Dixon, "Onset detection revisited", DAFx 2006. P. Grosche, M. Müller, "Extracting predominant local pulse
        information from music recordings", IEEE TASLP 19, 2011.
    """
    return pulse_of(onset_envelope(samples, sample_rate, least_seconds=2 * _LONGEST_LAG))


def onset_rate(samples: np.ndarray, sample_rate: int) -> float:
    """Onsets a second: peaks of the onset envelope, as `librosa.onset.onset_detect` picks them.

    Args:
        samples: Samples of shape (S,), a second or longer.
        sample_rate: Samples per second.

    Returns:
        Onsets a second, about 0 to 15: 3 to 6 for music, 0 for silence. The gain does not matter. A peak counts if it
        is high enough beside the highest of the sound, so steady noise has many onsets.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than a second.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=32_000)
        >>> metrics.onset_rate(noise * (np.arange(32_000) % 2000 < 200), 4000)
        1.875

    References:
        See `pulse`.
    """
    return onset_rate_of(onset_envelope(samples, sample_rate, least_seconds=1.0))


def onset_envelope(samples: np.ndarray, sample_rate: int, least_seconds: float) -> Envelope:
    """Returns the onset envelope of samples (S,)."""
    import librosa.onset  # imported here because it takes 1 s and other measures do not need it

    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    least = round(least_seconds * sample_rate)
    if len(samples) < least:
        raise ValueError(
            f"Onsets are measured over at least {least_seconds:g} s: sample_rate={sample_rate} needs {least} samples. "
            f"Received: {len(samples)}. Use a longer sound."
        )
    _, hop = frame_sizes(sample_rate)
    if rms(samples) < 10 ** (_SILENCE_DB / 20):
        strengths = np.zeros(1 + len(samples) // hop, np.float32)
    else:
        strengths = librosa.onset.onset_strength(
            y=samples, sr=sample_rate, hop_length=hop, n_fft=8 * hop, n_mels=min(_MELS, 2 * hop)
        )
    return Envelope(strengths, hop, sample_rate, len(samples))


def pulse_of(envelope: Envelope) -> float:
    """Returns the `pulse` of a sound of at least four seconds."""
    rate = envelope.sample_rate / envelope.hop
    centered = envelope.strengths - envelope.strengths.mean()
    count = len(centered)
    spectrum = np.abs(scipy.fft.rfft(centered, scipy.fft.next_fast_len(2 * count, real=True)))
    correlation = scipy.fft.irfft(np.square(spectrum))[:count] / np.arange(count, 0, -1)
    if correlation[0] <= 0:
        return 0.0
    return float(correlation[int(_SHORTEST_LAG * rate) : int(_LONGEST_LAG * rate)].max() / correlation[0])


def onset_rate_of(envelope: Envelope) -> float:
    """Returns the `onset_rate` of a sound."""
    strengths = envelope.strengths - envelope.strengths.min()
    highest = strengths.max()
    if not highest > 0:
        return 0.0
    picked = _peaks(strengths / highest, envelope.sample_rate / envelope.hop)
    return picked * envelope.sample_rate / envelope.size


def _peaks(strengths: np.ndarray, rate: float) -> int:
    """Returns the number of peaks that `librosa.onset.onset_detect` picks from strengths (T,), `rate` a second.

    librosa compiles its picking on first use. Two processes that do so at once leave a cache with which each later call
    ends the process (numba issue 10128). The few lines here compile nothing.
    """
    before, around = int(_PEAK_SECONDS * rate), int(_MEAN_SECONDS * rate)
    sums = np.concatenate([[0.0], np.cumsum(strengths, dtype=np.float64)])
    places = np.arange(len(strengths))
    first, end = np.maximum(places - around, 0), np.minimum(places + around + 1, len(strengths))
    means = (sums[end] - sums[first]) / (end - first)
    highest = scipy.ndimage.maximum_filter1d(strengths, before + 1, origin=before // 2, mode="nearest")
    candidates = np.flatnonzero((strengths == highest) & (strengths >= means + _PEAK_HEIGHT))
    count, last = 0, -before - 1
    for place in candidates.tolist():
        if place - last > before:
            count, last = count + 1, place
    return count
