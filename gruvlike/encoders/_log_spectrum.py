"""Loudness without phase: frames that look like hearing, and a way back that has to guess."""

import warnings
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._arrays import on_host
from gruvlike._contracts import ArrayFunctions, ArrayOrTensor, Tensor
from gruvlike.decoders import GriffinLim
from gruvlike.encoders._base import Encoder
from gruvlike.encoders._fourier import window_pair

TINY = 1e-12
MEL_ITERATIONS = 50


@keras.saving.register_keras_serializable(package="gruvlike")
class LogSpectrum(Encoder):
    """The logarithm of the magnitudes of a short-time spectrum, optionally on a mel scale; the phase is dropped.

    A frame holds `log(sqrt(m**2 + floor**2))` for the `frame_size // 2 + 1` magnitudes m, where 1 is a full-scale
    sine; with `mels`, the logarithm of their means under that many triangular mel filters.

    The contract has exceptions here (`invertible` is False). `decode` rebuilds a phase (`decoders.GriffinLim`),
    so that it returns a sound with nearly this spectrum, not the same samples; it runs on the host only, on
    numpy arrays, without a gradient. `decode_stream` synthesizes each piece with the frames before it held fixed:
    pieces join, but are not `decode` of the whole.

    Args:
        frame_size: Samples under a frame.
        hop: Samples from frame to frame. Default: a quarter of a frame; with less overlap the phase is hard to guess.
        mels: Number of mel filters. Default: none, all magnitudes.
        sample_rate: In Hz, for the mel scale only.
        window: As in `STFT`.
        floor_db: The level of silence, below that of a full-scale sine.
        iterations: Of Griffin-Lim.
        momentum: Of the fast Griffin-Lim method; 0 is the original method.
        random_seed: Of the phases of the first frame: the same frames always give the same sound.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: As in `STFT`; or more mels than the frame can tell apart, or mels without a sample rate.

    Example:
        >>> import gruvlike as gl
        >>> encoder = gl.LogSpectrum(frame_size=512, mels=40, sample_rate=16_000)
        >>> encoder.features, encoder.hop, encoder.invertible
        (40, 128, False)

    References:
        Griffin and Lim, Signal Estimation from Modified Short-Time Fourier Transform, IEEE TASSP 32, 1984.
        Perraudin, Balazs and Søndergaard, A Fast Griffin-Lim Algorithm, WASPAA 2013.
        Beauregard, Harish and Wyse, Single Pass Spectrogram Inversion, DSP 2015 (the start).
        Zhu, Beauregard and Wyse, Real-Time Iterative Spectrum Inversion with Look-Ahead, ICME 2006 (the fixed past).
    """

    invertible = False

    def __init__(
        self,
        frame_size: int,
        hop: int | None = None,
        *,
        mels: int | None = None,
        sample_rate: int | None = None,
        window: str | tuple[str, float] = "hann",
        floor_db: float = -100.0,
        iterations: int = 16,
        momentum: float = 0.99,
        random_seed: int = 0,
        **kwargs: object,
    ):
        frame_size = _checks.positive_int("frame_size", frame_size)
        if mels is not None:
            _checks.positive_int("mels", mels)
        super().__init__(
            features=frame_size // 2 + 1 if mels is None else mels,
            frame_size=frame_size,
            hop=max(1, frame_size // 4) if hop is None else hop,
            **kwargs,
        )
        self.mels, self.sample_rate = mels, sample_rate
        self.window = tuple(window) if isinstance(window, list) else window
        self.floor_db = _checks.number("floor_db", floor_db, -200.0, 0.0)
        self.iterations = _checks.positive_int("iterations", iterations)
        self.momentum = _checks.number("momentum", momentum, 0.0, 1.0)
        self.random_seed = _checks.positive_int("random_seed", random_seed, minimum=0)
        self._floor = 10 ** (self.floor_db / 20)
        self.analysis_window, _ = window_pair(self.window, self.frame_size, self.hop)
        self._gain = float(2 / np.sum(np.abs(self.analysis_window)))
        self._filters = None if mels is None else _mel_filters(mels, sample_rate, frame_size)

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        real, imag = xp.rfft(xp.multiply(pieces, self.analysis_window * np.float32(self._gain)))
        # The floor inside the root keeps the gradient finite in silence.
        magnitudes = xp.sqrt(real * real + imag * imag + self._floor**2)
        return xp.log(magnitudes if self._filters is None else xp.matmul(magnitudes, self._filters.T))

    def decode(self, frames: ArrayOrTensor) -> Any:
        """Returns a sound with nearly the spectrum of the frames; numpy only, otherwise as `Encoder.decode`.

        Raises:
            TypeError: If the frames are a tensor.
        """
        if not on_host(frames):
            raise TypeError(
                "LogSpectrum decodes numpy arrays only: the phase is rebuilt on the host. "
                f"Received: {type(frames).__name__}. Convert it with `keras.ops.convert_to_numpy` outside of a model."
            )
        return super().decode(np.asarray(frames))

    def decoder(self) -> GriffinLim:
        """Returns a `GriffinLim` of this encoder's `iterations`, `momentum` and `random_seed`."""
        return GriffinLim(self, self.iterations, self.momentum, self.random_seed)

    def magnitudes(self, frames: np.ndarray) -> np.ndarray:
        """Returns the magnitudes (B, T, frame_size // 2 + 1) of frames (B, T, F), as `scipy.fft.rfft` scales them.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> encoder = gl.LogSpectrum(frame_size=16, window="boxcar")
            >>> tone = np.cos(2 * np.pi * 2 * np.arange(16) / 16).astype("float32")
            >>> np.round(encoder.magnitudes(encoder.encode(tone, padded=False)[None])[0, 0, :4])
            array([0., 0., 8., 0.], dtype=float32)
        """
        magnitudes = np.exp(np.minimum(frames, 40.0))  # float32 holds the squares of no more
        if self._filters is not None:
            magnitudes = _without_filters(magnitudes, self._filters)
        return np.sqrt(np.maximum(magnitudes**2 - self._floor**2, 0.0)) / np.float32(self._gain)

    def _rebuild(self, frames: Tensor, xp: ArrayFunctions) -> np.ndarray:
        nothing = np.zeros((frames.shape[0], 0), "float32")  # fewer frames than overlap cover no sample fully
        return np.concatenate([nothing, *self.decoder().stream([np.asarray(frames)])], axis=1)


def _mel_filters(mels: int, sample_rate: int | None, frame_size: int) -> np.ndarray:
    """Returns triangular filters (mels, frame_size // 2 + 1), float32, each with the sum 1."""
    import librosa

    if sample_rate is None:
        raise ValueError(f"`mels` needs a `sample_rate` in Hz. Received: mels={mels}, sample_rate=None.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # librosa warns of empty filters, which are an error below
        filters = librosa.filters.mel(sr=sample_rate, n_fft=frame_size, n_mels=mels, norm=None)
    sums = filters.sum(axis=1, keepdims=True)
    if not (sums > 0).all():
        raise ValueError(
            f"Each mel filter must cover at least one frequency. Received: mels={mels}, frame_size={frame_size}, "
            f"{int((sums <= 0).sum())} filters empty. Use fewer mels or longer frames."
        )
    return (filters / sums).astype("float32")


def _without_filters(means: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Returns non-negative magnitudes whose means under the filters are given, nearly (multiplicative updates).

    References:
        Lee and Seung, Algorithms for Non-negative Matrix Factorization, NIPS 2000.
    """
    target = means @ filters
    gram = filters.T @ filters
    magnitudes = target / np.maximum(filters.sum(axis=0), TINY)
    for _ in range(MEL_ITERATIONS):
        magnitudes *= target / np.maximum(magnitudes @ gram, TINY)
    return magnitudes
