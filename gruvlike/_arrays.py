"""Layers that take numpy arrays as well as tensors, and numpy with the functions of `keras.ops`."""

import inspect
from types import ModuleType
from typing import Any

import keras
import numpy as np

from gruvlike._contracts import ArrayFunctions, ArrayOrTensor, Tensor


def on_host(x: object) -> bool:
    """Returns whether `x` is a numpy array, or can become one (a list, a number): it is no tensor of the backend."""
    return not (keras.ops.is_tensor(x) or isinstance(x, keras.KerasTensor | keras.Variable))


class PlainLayer(keras.layers.Layer):
    """A layer that computes in float32 under any dtype policy; each argument is an attribute of the same name."""

    def __init__(self, **kwargs: object):
        # Half precision is audible: its mantissa has 8 to 11 bits, 16-bit sound needs 16.
        super().__init__(dtype="float32", **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; each is an attribute of the same name."""
        arguments = inspect.signature(type(self).__init__).parameters.values()
        named = [p.name for p in arguments if p.kind is not p.VAR_KEYWORD and p.name != "self"]
        return {"name": self.name, **{name: getattr(self, name) for name in named}}


class TwoWayLayer(PlainLayer):
    """A layer with an inverse (`reverse=True`). Numpy arrays give numpy arrays, tensors give tensors."""

    def __call__(self, inputs: ArrayOrTensor, *args: Any, **kwargs: Any) -> Any:
        """Calls `call` directly for numpy arrays, so that they stay on the host; tensors take the way of Keras."""
        if on_host(inputs):
            return self.call(inputs, *args, **kwargs)
        return super().__call__(inputs, *args, **kwargs)


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """Returns `array`, or raises if it holds NaN or infinity."""
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"`{name}` must be finite. Received: {bad} NaN or infinite values. Replace them first.")
    return array


class _Host:
    """Numpy, and the Fourier transforms of `keras.ops` (on pairs of real and imaginary part), in float32 by scipy."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def convert_to_tensor(x: Any) -> np.ndarray:
        """Returns the value of a weight, or of anything that makes an array, in numpy."""
        return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(x))

    @staticmethod
    def rfft(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spectrum = scipy_fft().rfft(x)
        return spectrum.real, spectrum.imag

    @staticmethod
    def irfft(x: tuple[np.ndarray, np.ndarray], fft_length: int) -> np.ndarray:
        return scipy_fft().irfft(_complex(x), fft_length)

    @staticmethod
    def fft(x: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        spectrum = scipy_fft().fft(_complex(x))
        return spectrum.real, spectrum.imag


HOST = _Host()


def scipy_fft() -> ModuleType:
    """Returns `scipy.fft`; without scipy, `numpy.fft`, which is slower but also keeps float32."""
    try:
        import scipy.fft
    except ImportError:
        return np.fft
    return scipy.fft


def _complex(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    spectrum = np.empty(pair[0].shape, "complex64")
    spectrum.real, spectrum.imag = pair
    return spectrum


def count_frames(size: Any, frame_size: int, hop: int, padded: bool) -> Any:
    """Returns the number of frames of `size` samples: with silence around them if `padded`, else all inside."""
    overlap = frame_size - hop
    if padded:
        return -(-(size + overlap) // hop)
    steps = (size - overlap) // hop
    # In a TensorFlow graph the length can be a tensor.
    return max(0, steps) if isinstance(size, int) else keras.ops.maximum(steps, 0)


def cut(samples: Tensor, frame_size: int, hop: int, padded: bool, xp: ArrayFunctions) -> Tensor:
    """Cuts samples (B, S) into overlapping frames (B, T, frame_size).

    The samples are cut into blocks of one hop; a frame is the concatenation of consecutive blocks. Compiled, this is
    faster than a gather.
    """
    batch, size = xp.shape(samples)
    steps = count_frames(size, frame_size, hop, padded)
    parts = -(-frame_size // hop)  # hops that a frame covers, the last one perhaps in part
    excess = parts * hop - frame_size
    if padded:
        samples = xp.pad(samples, ((0, 0), (frame_size - hop, frame_size + excess)))
    elif excess:
        samples = xp.pad(samples, ((0, 0), (0, excess)))
    blocks = (steps + parts - 1) if isinstance(size, int) else keras.ops.where(steps > 0, steps + parts - 1, 0)
    if isinstance(size, int) and steps == 0:
        return xp.zeros((batch, 0, frame_size), "float32")
    blocks = xp.reshape(samples[:, : blocks * hop], (batch, blocks, hop))
    if parts == 1:
        return blocks
    return xp.concatenate([blocks[:, i : i + steps] for i in range(parts)], axis=-1)[..., :frame_size]


def overlap_add(pieces: Tensor, hop: int, xp: ArrayFunctions) -> Tensor:
    """Adds up pieces (B, T, frame_size), each one hop later than the piece before.

    Returns:
        Samples (B, T * hop + frame_size - hop), or up to one hop more.
    """
    batch, steps, frame_size = xp.shape(pieces)
    parts = -(-frame_size // hop)
    if parts == 1:
        return xp.reshape(pieces, (batch, steps * hop))
    pieces = xp.pad(pieces, ((0, 0), (0, 0), (0, parts * hop - frame_size)))
    total = 0
    for i in range(parts):
        hops = pieces[..., i * hop : (i + 1) * hop]
        total = total + xp.pad(hops, ((0, 0), (i, parts - 1 - i), (0, 0)))
    return xp.reshape(total, (batch, (steps + parts - 1) * hop))
