"""Fourier encoders without redundancy, with and without overlap."""

import math

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import ArrayFunctions, Tensor
from gruvlike.encoders._base import Encoder

# Where the squared windows sum to less than this part of their largest sum, frames do not hold the sound: dividing by
# so little would raise rounding errors of float32 (and errors of a network) more than thirtyfold.
SMALLEST_COVER = 1e-3


@keras.saving.register_keras_serializable(package="gruvlike")
class HalfDFT(Encoder):
    """The discrete Fourier transform of each block of N samples without its mirror image: N numbers a block.

    A frame holds the real parts of the frequencies 0, 1, ..., N // 2, then the imaginary parts of 1, 2, ...,
    (N - 1) // 2: those that are not always zero. They are numbers of `BlockDFT`, unnormalized as there.

    Args:
        block_size: N, samples in a block, even or odd.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: `block_size` is not a positive integer.

    Example:
        >>> import gruvlike as gl
        >>> gl.HalfDFT(block_size=4).encode([0.0, 1.0, 0.0, 0.0])
        array([[ 1.,  0., -1., -1.]], dtype=float32)
    """

    def __init__(self, block_size: int, **kwargs: object):
        self.block_size = _checks.positive_int("block_size", block_size)
        super().__init__(features=block_size, frame_size=block_size, hop=block_size, **kwargs)

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        return half_spectrum(pieces, xp)

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        return from_half_spectrum(frames, xp)


@keras.saving.register_keras_serializable(package="gruvlike")
class STFT(Encoder):
    """The short-time Fourier transform: windowed frames that overlap, and that fade into each other on the way back.

    A frame holds the half spectrum of `frame_size` windowed samples, in the order of `HalfDFT`: `frame_size` real
    numbers for `hop` new samples. It is unnormalized, as in librosa (there with `center=False`). `decode` windows
    once more and divides by the sum of the squared windows: the least-squares inverse, exact for frames of a sound.

    Args:
        frame_size: Samples under a frame.
        hop: Samples from frame to frame. Default: half a frame.
        window: A name that `scipy.signal.get_window` knows, or a name and its parameters, such as `("kaiser", 8.0)`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If a size is not a positive integer, the window is unknown, or the sound could not be rebuilt: the
            hop exceeds the frame, or the squared windows sum to (nearly) zero somewhere.

    Example:
        >>> import gruvlike as gl
        >>> encoder = gl.STFT(frame_size=512, hop=256)
        >>> encoder.features, encoder.lap, encoder.span(10)
        (512, 256, 2816)

    References:
        Griffin and Lim, Signal Estimation from Modified Short-Time Fourier Transform, IEEE TASSP 32, 1984.
    """

    def __init__(
        self, frame_size: int, hop: int | None = None, window: str | tuple[str, float] = "hann", **kwargs: object
    ):
        frame_size = _checks.positive_int("frame_size", frame_size)
        hop = max(1, frame_size // 2) if hop is None else hop
        super().__init__(features=frame_size, frame_size=frame_size, hop=hop, **kwargs)
        self.window = tuple(window) if isinstance(window, list) else window
        self._analysis, self._synthesis = window_pair(self.window, self.frame_size, self.hop)

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        return half_spectrum(xp.multiply(pieces, self._analysis), xp)

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        return xp.multiply(from_half_spectrum(frames, xp), self._synthesis)


def half_spectrum(pieces: Tensor, xp: ArrayFunctions) -> Tensor:
    """Returns the N numbers (..., N) that determine the spectrum of N samples: real parts, then imaginary parts."""
    real, imag = xp.rfft(pieces)
    return xp.concatenate([real, imag[..., 1 : (pieces.shape[-1] + 1) // 2]], axis=-1)


def from_half_spectrum(frames: Tensor, xp: ArrayFunctions) -> Tensor:
    """Returns the N samples whose `half_spectrum` is given."""
    size = frames.shape[-1]
    half = size // 2 + 1
    behind = 1 - size % 2 if size > 1 else 0  # the imaginary part of the highest frequency is 0 if N is even
    zeros = [(0, 0)] * (len(frames.shape) - 1)
    imag = xp.pad(frames[..., half:], (*zeros, (1, behind)))
    return xp.irfft((frames[..., :half], imag), fft_length=size)


def window_pair(window: str | tuple[str, float], size: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the windows of analysis and synthesis (size,), float32, whose product overlap-adds to one.

    Raises:
        ValueError: If the window is unknown, or does not let every sample be rebuilt at this hop.
    """
    import scipy.signal

    try:
        analysis = scipy.signal.get_window(window, size)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`window` must be a name that `scipy.signal.get_window` knows, or a tuple of a name and its parameters. "
            f"Received: window={window!r} ({error})."
        ) from error
    hops = math.ceil(size / hop)
    squares = np.pad(analysis**2, (0, hops * hop - size)).reshape(hops, hop).sum(axis=0)
    if squares.min() < SMALLEST_COVER * squares.max():
        raise ValueError(
            "The squared windows of overlapping frames must not sum to (nearly) zero anywhere, or samples there are "
            f"lost. Received: frame_size={size}, hop={hop}, window={window!r}, whose sum falls to "
            f"{squares.min() / squares.max():.1e} of its maximum. Use a smaller hop or another window."
        )
    synthesis = analysis / np.resize(squares, size)
    return analysis.astype("float32"), synthesis.astype("float32")
