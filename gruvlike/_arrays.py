"""Layers that serve numpy arrays and tensors alike, and numpy in the shape of `keras.ops`."""

import inspect
from types import ModuleType
from typing import Any

import keras
import numpy as np


def on_host(x: Any) -> bool:
    """Returns whether `x` is a numpy array, or something to make one of, rather than a tensor of the backend."""
    return not (keras.ops.is_tensor(x) or isinstance(x, keras.KerasTensor | keras.Variable))


class TwoWayLayer(keras.layers.Layer):
    """A layer that goes both ways (`reverse=True`), in float32 whatever the dtype policy: numpy in gives numpy out."""

    def __init__(self, **kwargs: Any):
        # Half precision would be heard (16 bits of sound do not fit into the 8 to 11 of its mantissa).
        super().__init__(dtype="float32", **kwargs)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if on_host(inputs):
            return self.call(inputs, *args, **kwargs)
        return super().__call__(inputs, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; each is an attribute of the same name."""
        arguments = inspect.signature(type(self).__init__).parameters.values()
        named = [p.name for p in arguments if p.kind is not p.VAR_KEYWORD and p.name != "self"]
        return {"name": self.name, **{name: getattr(self, name) for name in named}}


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
