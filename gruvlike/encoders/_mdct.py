"""The modified discrete cosine transform: lapped, and yet N numbers for N samples."""

from functools import cache
from typing import Literal

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import ArrayFunctions, Tensor
from gruvlike.encoders._base import Encoder

LARGEST_MATRIX = 512  # up to this block size a matrix product is faster than a Fourier transform


@keras.saving.register_keras_serializable(package="gruvlike")
class MDCT(Encoder):
    """The modified discrete cosine transform: frames of 2N samples overlap by half, and give N numbers each.

    So it has no seams, as `STFT`, and no redundancy, as `HalfDFT`. The transform is orthonormal: the frames have the
    energy of the sound. Frame t is, with the window w,
    `X[k] = sqrt(2 / N) * sum(w[n] * x[t * N + n] * cos(pi / N * (n + (N + 1) / 2) * (k + 1 / 2)), n < 2 * N)`.

    Args:
        block_size: N, new samples in a frame; even.
        window: "sine", "kbd" (Kaiser-Bessel derived, alpha 4, as in AAC: tones far apart leak less into each other)
            or "vorbis" (in between).
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: `block_size` is not a positive even integer, or the window is unknown.

    Example:
        >>> import gruvlike as gl
        >>> encoder = gl.MDCT(block_size=256)
        >>> encoder.features, encoder.hop, encoder.lap
        (256, 256, 256)

    References:
        Princen, Johnson and Bradley, Subband/Transform Coding Using Filter Bank Designs Based on Time Domain
        Aliasing Cancellation, ICASSP 1987.
    """

    def __init__(self, block_size: int, window: Literal["sine", "kbd", "vorbis"] = "sine", **kwargs: object):
        self.block_size = _checks.positive_int("block_size", block_size)
        if block_size % 2:
            raise ValueError(f"`block_size` must be even for the MDCT. Received: block_size={block_size}.")
        super().__init__(features=block_size, frame_size=2 * block_size, hop=block_size, **kwargs)
        self.window = _checks.choice("window", window, tuple(WINDOWS))
        self._window = WINDOWS[window](2 * block_size).astype("float32")
        self._dct = _matrix_dct if block_size <= LARGEST_MATRIX else _fast_dct

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        a, b, c, d = _quarters(xp.multiply(pieces, self._window))
        return self._dct(xp.concatenate([-xp.flip(c, axis=-1) - d, a - xp.flip(b, axis=-1)], axis=-1), xp)

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        folded = self._dct(frames, xp)
        first, second = folded[..., : self.block_size // 2], folded[..., self.block_size // 2 :]
        pieces = [second, -xp.flip(second, axis=-1), -xp.flip(first, axis=-1), -first]
        return xp.multiply(xp.concatenate(pieces, axis=-1), self._window)


def _sine(size: int) -> np.ndarray:
    return np.sin(np.pi / size * (np.arange(size) + 0.5))


def _kaiser_bessel_derived(size: int) -> np.ndarray:
    from scipy.signal import windows

    return windows.kaiser_bessel_derived(size, beta=4 * np.pi)


WINDOWS = {
    "sine": _sine,
    "kbd": _kaiser_bessel_derived,
    "vorbis": lambda size: np.sin(np.pi / 2 * _sine(size) ** 2),
}


def _quarters(pieces: Tensor) -> list[Tensor]:
    size = pieces.shape[-1] // 4
    return [pieces[..., i * size : (i + 1) * size] for i in range(4)]


def _matrix_dct(x: Tensor, xp: ArrayFunctions) -> Tensor:
    """Returns the orthonormal DCT-IV of (..., N), its own inverse, by a product with its matrix."""
    return xp.matmul(x, _matrix(x.shape[-1]))


@cache
def _matrix(size: int) -> np.ndarray:
    index = np.arange(size) + 0.5
    return (np.sqrt(2 / size) * np.cos(np.pi / size * np.outer(index, index))).astype("float32")


def _fast_dct(x: Tensor, xp: ArrayFunctions) -> Tensor:
    """Returns the orthonormal DCT-IV of (..., N), its own inverse, by a complex Fourier transform of size N / 2."""
    size = x.shape[-1]
    angle = -np.pi / size * (np.arange(size // 2) + 0.125)
    real, imag = x[..., ::2], xp.flip(x[..., 1::2], axis=-1)
    real, imag = xp.fft(_turn(real, imag, angle, np.sqrt(2 / size), xp))
    real, imag = _turn(real, imag, angle, 1.0, xp)
    return xp.reshape(xp.stack([real, -xp.flip(imag, axis=-1)], axis=-1), (*xp.shape(x)[:-1], size))


def _turn(real: Tensor, imag: Tensor, angle: np.ndarray, gain: float, xp: ArrayFunctions) -> tuple[Tensor, Tensor]:
    """Multiplies complex numbers by `gain * exp(i * angle)`."""
    cosine, sine = ((gain * part).astype("float32") for part in (np.cos(angle), np.sin(angle)))
    by = xp.multiply  # `xp.multiply` takes torch tensors times numpy arrays, with gradients
    return by(real, cosine) - by(imag, sine), by(real, sine) + by(imag, cosine)
