"""Spectra: does the song have the color of the reference, and is it more than noise?"""

import numpy as np
import scipy.fft
import scipy.signal

from gruvlike import _checks

_RANGE_DB = 80.0  # what lies farther below the loudest point is taken for silence
_SILENT_FRAME_DB = 60.0


def spectral_convergence(
    song: np.ndarray, reference: np.ndarray, aligned: bool = True, frame_size: int = 1024
) -> float:
    """Distance of two magnitude spectra over the size of the reference's.

    `|| |R| - |X| || / || |R| ||` over short-time spectra (Hann window, a quarter frame apart).
    `aligned=True` compares frame by frame: for a copy that should be the same music sample for sample.
    `aligned=False` compares the two average magnitude spectra: for a song and music that it should sound like.

    Args:
        song: samples (S,).
        reference: samples; of the same length when `aligned`.
        aligned: whether the same instant is at the same sample in both.
        frame_size: samples a frame.

    Returns:
        0 = equal; 1 = as far as silence is; above for a louder song. Two silences read 0, a silent reference 1.

    Raises:
        ValueError: if either is not mono and finite or is shorter than a frame, or if lengths differ when `aligned`.

    References:
        N. Sturmel, L. Daudet, "Signal reconstruction from STFT magnitude", DAFx 2011.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.sin(np.arange(8000) / 5)
        >>> round(metrics.spectral_convergence(0.9 * music, music), 3)
        0.1
    """
    spectra = [np.sqrt(power) for power in _pair(song, reference, aligned, frame_size)]
    ours, theirs = spectra if aligned else [magnitude.mean(axis=0) for magnitude in spectra]
    size = np.linalg.norm(theirs) or np.linalg.norm(ours)
    return float(np.linalg.norm(theirs - ours) / size) if size > 0 else 0.0


def log_spectral_distance(
    song: np.ndarray, reference: np.ndarray, aligned: bool = True, frame_size: int = 1024
) -> float:
    """Root mean square difference of two spectra in dB.

    `aligned=True`: the root mean square over frequencies in each frame, averaged over frames. `aligned=False`: over
    the frequencies of the two average log spectra. What lies 80 dB below the loudest point of either is cut.

    Args:
        song: samples (S,).
        reference: samples; of the same length when `aligned`.
        aligned: whether the same instant is at the same sample in both.
        frame_size: samples a frame.

    Returns:
        dB in [0, 80]: 0 = equal, g for a copy that is g dB louder, 80 at most. Two silences read 0.

    Raises:
        ValueError: if either is not mono and finite or is shorter than a frame, or if lengths differ when `aligned`.

    References:
        A. Gray, J. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24, 1976.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.random.default_rng(0).normal(size=8000)
        >>> round(metrics.log_spectral_distance(0.1 * music, music), 3)
        20.0
    """
    powers = _pair(song, reference, aligned, frame_size)
    loudest = max(float(power.max()) for power in powers)
    if loudest <= 0:
        return 0.0
    ours, theirs = (10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE_DB / 10))) for power in powers)
    if not aligned:
        ours, theirs = ours.mean(axis=0, keepdims=True), theirs.mean(axis=0, keepdims=True)
    return float(np.sqrt(np.square(ours - theirs).mean(axis=1)).mean())


def spectral_flatness(samples: np.ndarray, frame_size: int = 1024) -> float:
    """Geometric mean of the power spectrum over its arithmetic mean, averaged over frames that are not silent.

    Args:
        samples: (S,).
        frame_size: samples a frame.

    Returns:
        [0, 1]: a tone reads about 0, white noise 0.56 (exp of minus Euler's constant), a single click 1.
        Silence reads 0. Frames 60 dB below the loudest do not count.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than a frame.

    References:
        J. D. Johnston, "Transform coding of audio signals using perceptual noise criteria", IEEE JSAC 6, 1988.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> round(metrics.spectral_flatness(np.random.default_rng(0).normal(size=80_000)), 2)
        0.56
    """
    power = power_spectra(_checks.mono("samples", samples), frame_size, frame_size // 4).astype(np.float64)
    level = power.mean(axis=1)
    if not level.max() > 0:
        return 0.0
    heard = level > level.max() * 10 ** (-_SILENT_FRAME_DB / 10)
    power, level = power[heard], level[heard]
    shape = np.maximum(power / level[:, None], 1e-12)
    return float(np.minimum(np.exp(np.log(shape).mean(axis=1)), 1).mean())


def flatness_excess_db(song: np.ndarray, reference: np.ndarray, frame_size: int = 1024) -> float:
    """`spectral_flatness` of the song over that of the reference.

    Args:
        song: samples (S,).
        reference: the music that the song continues or imitates.
        frame_size: samples a frame.

    Returns:
        dB in [-120, 120]: 0 = as noisy as the reference, above = noisier, below = purer (or silent).

    Raises:
        ValueError: if either is not mono and finite, or shorter than a frame.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=8000)
        >>> round(metrics.flatness_excess_db(noise, np.cumsum(noise))) > 10
        True
    """
    ours, theirs = (max(spectral_flatness(x, frame_size), 1e-12) for x in (song, reference))
    return float(10 * np.log10(ours / theirs))


def power_spectra(samples: np.ndarray, frame_size: int, hop: int) -> np.ndarray:
    """Power spectra of Hann-windowed frames that lie wholly inside: (S,) -> float32 (T, frame_size // 2 + 1)."""
    frame_size = _checks.positive_int("frame_size", frame_size, minimum=8)
    if len(samples) < frame_size:
        raise ValueError(
            f"A spectrum takes frame_size={frame_size} samples. Received: {len(samples)} samples. "
            "Use a longer sound or a smaller frame_size."
        )
    window = scipy.signal.windows.hann(frame_size, sym=False).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame_size)[::hop]
    spectra = scipy.fft.rfft(frames * window, axis=1, workers=-1)
    return np.square(spectra.real) + np.square(spectra.imag)


def log_mel(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mel power spectra in dB, 64 ms frames 16 ms apart, up to 40 bands: (S,) -> float32 (T, bands).

    0 dB is about a full sine; there is no floor (the caller chooses one), silence reads -200.
    """
    import librosa.filters  # 1 s, which the other measures need not wait for

    frame_size, hop = frame_sizes(sample_rate)
    bands = min(40, frame_size // 4)
    filters = librosa.filters.mel(sr=sample_rate, n_fft=frame_size, n_mels=bands, norm=None)
    power = power_spectra(samples, frame_size, hop) @ filters.T
    return 10 * np.log10(np.maximum(power * np.float32((4 / frame_size) ** 2), np.float32(1e-20)))


def frame_sizes(sample_rate: int) -> tuple[int, int]:
    """Samples of the frames of `log_mel`, and samples from one to the next."""
    hop = max(round(0.016 * sample_rate), 2)
    return 4 * hop, hop


def _pair(song: np.ndarray, reference: np.ndarray, aligned: bool, frame_size: int) -> list[np.ndarray]:
    song, reference = _checks.mono("song", song), _checks.mono("reference", reference)
    if aligned and len(song) != len(reference):
        raise ValueError(
            f"Aligned sounds must have the same length. Received: {len(song)} and {len(reference)} samples. "
            "Cut one of them, or compare averages with aligned=False."
        )
    return [power_spectra(x, frame_size, frame_size // 4) for x in (song, reference)]
