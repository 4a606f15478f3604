"""Layers that serve numpy arrays and tensors alike, and numpy in the shape of `keras.ops`."""

import inspect
from types import ModuleType
from typing import Any

import keras
import numpy as np

from gruvlike._contracts import ArrayFunctions, Tensor


def on_host(x: Any) -> bool:
    """Returns whether `x` is a numpy array, or something to make one of, rather than a tensor of the backend."""
    return not (keras.ops.is_tensor(x) or isinstance(x, keras.KerasTensor | keras.Variable))


class PlainLayer(keras.layers.Layer):
    """A layer that computes in float32 whatever the dtype policy; each argument is an attribute of the same name."""

    def __init__(self, **kwargs: Any):
        # Half precision is audible: 16 bits of sound do not fit into the 8 to 11 bits of its mantissa.
        super().__init__(dtype="float32", **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; each is an attribute of the same name."""
        arguments = inspect.signature(type(self).__init__).parameters.values()
        named = [p.name for p in arguments if p.kind is not p.VAR_KEYWORD and p.name != "self"]
        return {"name": self.name, **{name: getattr(self, name) for name in named}}


class TwoWayLayer(PlainLayer):
    """A layer that goes both ways (`reverse=True`): numpy in gives numpy out, a tensor a tensor."""

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer on the host for numpy arrays, as Keras does for tensors."""
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
    """Numpy, with the Fourier transforms of `keras.ops` (pairs of real and imaginary parts) by scipy in float32."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

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
    """Returns `scipy.fft`, or where there is no scipy that of numpy, slower but in float32 as well."""
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
    """Returns how many frames `size` samples give: with silence around them, or only those that lie wholly inside."""
    overlap = frame_size - hop
    if padded:
        return -(-(size + overlap) // hop)
    steps = (size - overlap) // hop
    # In a TensorFlow graph the length can be a tensor.
    return max(0, steps) if isinstance(size, int) else keras.ops.maximum(steps, 0)


def cut(samples: Tensor, frame_size: int, hop: int, padded: bool, xp: ArrayFunctions) -> Tensor:
    """Cuts (B, S) into (B, T, frame_size) by joining shifted blocks of one hop: no gather, fast when compiled."""
    batch, size = xp.shape(samples)
    steps = count_frames(size, frame_size, hop, padded)
    parts = -(-frame_size // hop)  # hops that touch a frame, the last of them perhaps in part
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
    """Adds pieces (B, T, frame_size), each a hop after the last, to (B, T * hop + overlap) samples or some more."""
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
