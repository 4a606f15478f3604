"""Block encoders: every sample belongs to one frame."""

import keras

from gruvlike import _checks
from gruvlike._contracts import ArrayFunctions, Tensor
from gruvlike.encoders._base import Encoder


@keras.saving.register_keras_serializable(package="gruvlike")
class TimeBlocks(Encoder):
    """The samples themselves, N at a time: the paper's time-domain variant.

    Args:
        block_size: N, samples in a block. A frame has N numbers.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: `block_size` is not a positive integer.

    Example:
        >>> import gruvlike as gl
        >>> gl.TimeBlocks(block_size=2).encode([0.5, 0.25, 0.125])
        array([[0.5  , 0.25 ], [0.125, 0.   ]], dtype=float32)
    """

    def __init__(self, block_size: int, **kwargs: object):
        self.block_size = _checks.positive_int("block_size", block_size)
        super().__init__(features=block_size, frame_size=block_size, hop=block_size, **kwargs)

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        return pieces

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        return frames


@keras.saving.register_keras_serializable(package="gruvlike")
class BlockDFT(Encoder):
    """The discrete Fourier transform of each block of N samples, as in the paper: 2N numbers a block.

    A frame holds the N real parts, then the N imaginary parts, of the unnormalized transform. Half of it is redundant
    (the spectrum of a real block mirrors itself): see `HalfDFT`. `decode` takes any 2N numbers, also
    such as no real block could give, and returns the real part of the inverse transform.

    Args:
        block_size: N, samples in a block.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: `block_size` is not a positive integer.

    Example:
        >>> import gruvlike as gl
        >>> gl.BlockDFT(block_size=4).encode([0.0, 1.0, 0.0, 0.0])
        array([[ 1.,  0., -1.,  0.,  0., -1.,  0.,  1.]], dtype=float32)

    References:
        Nayebi and Vitelli, GRUV: Algorithmic Music Generation using Recurrent Neural Networks, Stanford CS224d, 2015.
    """

    def __init__(self, block_size: int, **kwargs: object):
        self.block_size = _checks.positive_int("block_size", block_size)
        super().__init__(features=2 * block_size, frame_size=block_size, hop=block_size, **kwargs)

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        real, imag = xp.rfft(pieces)
        mirror = slice(1, (self.block_size + 1) // 2)
        backwards = [xp.flip(part[..., mirror], axis=-1) for part in (real, imag)]
        return xp.concatenate([real, backwards[0], imag, -backwards[1]], axis=-1)

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        # The real part of the inverse transform is the inverse of the Hermitian part, (Z[k] + conj(Z[-k])) / 2.
        size, half = self.block_size, self.block_size // 2 + 1
        real, imag = frames[..., :size], frames[..., size:]
        real_back, imag_back = (
            xp.concatenate([part[..., :1], xp.flip(part, axis=-1)[..., : half - 1]], axis=-1) for part in (real, imag)
        )
        hermitian = (real[..., :half] + real_back) / 2, (imag[..., :half] - imag_back) / 2
        return xp.irfft(hermitian, fft_length=size)
