"""Spectra: does the song have the spectrum of the reference, is it noise, and does it move?"""

import numpy as np
import scipy.fft
import scipy.signal

from gruvlike import _checks

_RANGE_DB = 80.0  # points farther below the loudest one count as silence
_SILENT_FRAME_DB = 60.0
_FLUX_MELS = 64
_FLUX_OFFSET = 1e-8  # power; lower levels are about equal


def spectral_convergence(
    song: np.ndarray, reference: np.ndarray, aligned: bool = True, frame_size: int = 1024
) -> float:
    """Distance of two magnitude spectra, divided by the norm of the reference's spectrum.

    It is `|| |R| - |X| || / || |R| ||` for short-time spectra (Hann window, a quarter frame apart). `aligned=True`
    compares frame by frame, for a copy that should be equal sample for sample. `aligned=False` compares the two average
    magnitude spectra, for a song and music that it should resemble.

    Args:
        song: Samples of shape (S,).
        reference: Samples; of the same length when `aligned`.
        aligned: Whether the same instant is at the same sample in both.
        frame_size: Samples a frame.

    Returns:
        0 if equal; 1 for a silent song; more than 1 for a much louder song. Two silent sounds give 0, a silent
        reference alone gives 1.

    Raises:
        ValueError: If either is not mono and finite or is shorter than a frame, or if lengths differ when `aligned`.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.sin(np.arange(8000) / 5)
        >>> round(metrics.spectral_convergence(0.9 * music, music), 3)
        0.1

    References:
        N. Sturmel, L. Daudet, "Signal reconstruction from STFT magnitude", DAFx 2011.
    """
    spectra = [np.sqrt(power) for power in _pair(song, reference, aligned, frame_size)]
    ours, theirs = spectra if aligned else [magnitude.mean(axis=0) for magnitude in spectra]
    size = np.linalg.norm(theirs) or np.linalg.norm(ours)
    return float(np.linalg.norm(theirs - ours) / size) if size > 0 else 0.0


def log_spectral_distance(
    song: np.ndarray, reference: np.ndarray, aligned: bool = True, frame_size: int = 1024
) -> float:
    """Root mean square difference of two spectra in dB.

    With `aligned=True` it is the root mean square over the frequencies of each frame, averaged over frames. With
    `aligned=False` it is taken over the frequencies of the two average log spectra. Levels more than 80 dB below the
    loudest point of both are raised to -80 dB.

    Args:
        song: Samples of shape (S,).
        reference: Samples; of the same length when `aligned`.
        aligned: Whether the same instant is at the same sample in both.
        frame_size: Samples a frame.

    Returns:
        Decibels in [0, 80]: 0 if equal, g for a copy that is g dB louder. Two silent sounds give 0.

    Raises:
        ValueError: If either is not mono and finite or is shorter than a frame, or if lengths differ when `aligned`.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.random.default_rng(0).normal(size=8000)
        >>> round(metrics.log_spectral_distance(0.1 * music, music), 3)
        20.0

    References:
        A. Gray, J. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24, 1976.
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
    """Geometric mean of the power spectrum divided by its arithmetic mean, averaged over frames that are not silent.

    Args:
        samples: Samples of shape (S,).
        frame_size: Samples a frame.

    Returns:
        A number in [0, 1]: about 0 for a tone, 0.56 for white noise (exp of minus Euler's constant), 1 for a single
        click, 0 for silence. Frames more than 60 dB below the loudest frame count as silent.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than a frame.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> round(metrics.spectral_flatness(np.random.default_rng(0).normal(size=80_000)), 2)
        0.56

    References:
        J. D. Johnston, "Transform coding of audio signals using perceptual noise criteria", IEEE JSAC 6, 1988.
    """
    power = power_spectra(_checks.mono("samples", samples), frame_size, frame_size // 4).astype(np.float64)
    level = power.mean(axis=1)
    if not level.max() > 0:
        return 0.0
    audible = level > level.max() * 10 ** (-_SILENT_FRAME_DB / 10)
    power, level = power[audible], level[audible]
    shape = np.maximum(power / level[:, None], 1e-12)
    return float(np.minimum(np.exp(np.log(shape).mean(axis=1)), 1).mean())


def flatness_excess_db(song: np.ndarray, reference: np.ndarray, frame_size: int = 1024) -> float:
    """`spectral_flatness` of the song relative to that of the reference, in dB.

    Args:
        song: Samples of shape (S,).
        reference: The music that the song continues or imitates.
        frame_size: Samples a frame.

    Returns:
        Decibels in [-120, 120]: 0 for a song as noisy as the reference, above 0 for a noisier one, below 0 for a more
        tonal or a silent one.

    Raises:
        ValueError: If either is not mono and finite, or shorter than a frame.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=8000)
        >>> round(metrics.flatness_excess_db(noise, np.cumsum(noise))) > 10
        True
    """
    ours, theirs = (max(spectral_flatness(x, frame_size), 1e-12) for x in (song, reference))
    return float(10 * np.log10(ours / theirs))


def flux(samples: np.ndarray, sample_rate: int) -> float:
    """Mean change of the log-mel spectrum from frame to frame: does the sound move, or is it frozen?

    The frames have 64 ms and are 16 ms apart, in up to 64 bands, with a range of 80 dB. The absolute difference in dB
    is averaged over bands and frames.

    Args:
        samples: Samples of shape (S,), at least a frame.
        sample_rate: Samples per second.

    Returns:
        Decibels, 0 or more: 0 for silence, below 0.5 for a held chord, 1.7 for white noise, 2 for electronic music. The
        gain hardly matters for sound that is well above silence. Compare with the reference.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than a frame.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> tone = np.sin(np.arange(32_000) / 2)
        >>> noise = np.random.default_rng(0).normal(size=32_000)
        >>> metrics.flux(tone, 8000) < 0.5 < 1 < metrics.flux(noise, 8000)
        True

    References:
        S. Dixon, "Onset detection revisited", DAFx 2006 (spectral flux).
    """
    import librosa.feature  # imported here because it takes 1 s and most measures do not need it

    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    frame_size, hop = frame_sizes(sample_rate)
    if len(samples) < frame_size:
        raise ValueError(
            f"Flux needs a frame: sample_rate={sample_rate} needs {frame_size} samples. Received: {len(samples)}."
        )
    bands = min(_FLUX_MELS, frame_size // 4)
    power = librosa.feature.melspectrogram(y=samples, sr=sample_rate, n_fft=frame_size, hop_length=hop, n_mels=bands)
    return float(np.abs(np.diff(librosa.power_to_db(power + _FLUX_OFFSET, top_db=_RANGE_DB), axis=1)).mean())


def power_spectra(samples: np.ndarray, frame_size: int, hop: int) -> np.ndarray:
    """Returns the power spectra of Hann-windowed frames inside the sound: (S,) -> float32 (T, frame_size // 2 + 1)."""
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
    """Returns mel power spectra in dB, for frames of 64 ms, 16 ms apart, in up to 40 bands: (S,) -> float32 (T, bands).

    A sine at full scale has about 0 dB. Levels are not limited from below; silence has -200 dB.
    """
    import librosa.filters  # imported here because it takes 1 s and the other measures do not need it

    frame_size, hop = frame_sizes(sample_rate)
    bands = min(40, frame_size // 4)
    filters = librosa.filters.mel(sr=sample_rate, n_fft=frame_size, n_mels=bands, norm=None)
    power = power_spectra(samples, frame_size, hop) @ filters.T
    return 10 * np.log10(np.maximum(power * np.float32((4 / frame_size) ** 2), np.float32(1e-20)))


def frame_sizes(sample_rate: int) -> tuple[int, int]:
    """Returns the frame size and the hop of `log_mel`, in samples."""
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
