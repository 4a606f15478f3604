"""Normalizers with one shift and one scale a feature: `(frames - shift) / scale`, and back."""

import warnings
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from gruvlike._contracts import AnyMusic, ArrayFunctions, FramesOfSound, Tensor
from gruvlike.normalizers._normalizer import Normalizer
from gruvlike.normalizers._statistics import SMALLEST_SCALE, Statistics, measure, noise_of


class Affine(Normalizer):
    """Shifts and scales each feature; the base class of `Standardizer` and its like.

    A subclass defines `choose(statistics)`, which returns the shift and the scale of each feature. A scale of 0 marks
    a constant feature: it encodes to 0 and decodes to its mean, whatever the network says. `fit` marks those whose
    standard deviation is at most 1e-8, or so far below their mean or the strongest feature that it is rounding noise
    of float32 (138 dB).

    Args:
        features: F, known once fitted; leave it out. The width is the same.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        shift, scale, mean: The statistics, variables of shape `(F,)`; `None` before `fit`.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> class Loudest(gl.normalizers.Affine):
        ...     def choose(self, statistics):
        ...         return 0.0, np.maximum(-statistics.low, statistics.high)
        >>> Loudest().fit(np.array([0.5, -0.25, 0.1, 0.2]), gl.TimeBlocks(2))([[0.25, 0.25]])
        array([[0.5, 1. ]], dtype=float32)
    """

    def __init__(self, features: int | None = None, **kwargs: Any):
        super().__init__(features, features, **kwargs)
        self.shift: keras.Variable | None = None
        self.scale: keras.Variable | None = None
        self.mean: keras.Variable | None = None
        if self.features is not None:
            self._make_weights(self.features)

    def choose(self, statistics: Statistics) -> tuple[np.ndarray | float, np.ndarray | float]:
        """Returns the shift and the scale of each feature, `(F,)` each, or one number for all."""
        raise NotImplementedError(f"{type(self).__name__} must define `choose(statistics)`.")

    def fit(self, music: AnyMusic, encoder: FramesOfSound) -> Self:
        """Measures the frames of music in one pass, in constant memory.

        Args:
            music: A `Corpus`; samples `(S,)` or `(B, S)`; or several tracks, samples, or (name, samples).
            encoder: The `Encoder` whose frames are scaled.

        Returns:
            The normalizer itself.

        Raises:
            ValueError: If no track is as long as one frame, or the statistics are not finite.

        Warns:
            UserWarning: If no feature varies, as in silence.

        Example:
            >>> import numpy as np, gruvlike as gl
            >>> encoder = gl.TimeBlocks(2)
            >>> normalizer = gl.Standardizer().fit(np.array([0.0, 0.2, 0.2, 0.6], "float32"), encoder)
            >>> normalizer(encoder.encode([0.2, 0.6]))
            array([[1., 1.]], dtype=float32)
        """
        statistics = measure(music, encoder)
        shift, scale = self.choose(statistics)
        std = np.sqrt(statistics.variance)
        varies = (std if np.ndim(scale) else scale) > noise_of(statistics.mean, std)
        self._assign(np.where(varies, shift, statistics.mean), np.where(varies, scale, 0.0), statistics.mean)
        if self.needs_fit and not varies.any():
            message = "No feature of this corpus varies (is it silence?): all frames will be scaled to 0."
            warnings.warn(message, stacklevel=2)
        return self

    @property
    def center(self) -> Tensor:
        """The normalized training mean, a tensor `(F,)`: the prediction of a network that learned nothing else."""
        self._require_fitted()
        _, _, mean = self._weights(keras.ops)
        return self.normalize(mean, keras.ops)

    def normalize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the scaled frames."""
        shift, scale, _ = self._weights(xp)
        varies = scale > 0
        # One factor for each feature takes two passes over the frames; a choice for each number would take three.
        factor = xp.where(varies, 1.0 / xp.where(varies, scale, 1.0), 0.0)
        return (frames - shift) * factor

    def restore(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames in the encoder's units."""
        shift, scale, _ = self._weights(xp)
        return frames * scale + shift

    def get_config(self) -> dict[str, Any]:
        """Returns the number of features; the statistics themselves are weights."""
        return {"name": self.name, "features": self.features}

    def _weights(self, xp: ArrayFunctions) -> tuple[Any, Any, Any]:
        """Returns shift, scale and mean as numpy arrays or as tensors."""
        return tuple(xp.convert_to_tensor(weight) for weight in (self.shift, self.scale, self.mean))

    def _make_weights(self, features: int) -> None:
        self.features = self.width = features
        self.shift, self.scale, self.mean = (
            self.add_statistic(name, (features,)) for name in ("shift", "scale", "mean")
        )

    def _assign(self, shift: ArrayLike | None, scale: ArrayLike | None, mean: ArrayLike | None) -> None:
        """Stores statistics: numbers, or arrays (F,)."""
        if shift is None or scale is None or mean is None:
            raise ValueError("Statistics must be given together, all of them or none. Received: some of them are None.")
        arrays = _checked([np.atleast_1d(np.asarray(array, "float64")) for array in (shift, scale, mean)])
        given = max(map(len, arrays))
        if self.features is None and np.ndim(mean) == 0:
            raise ValueError("Statistics that are one number need `features`. Received: features=None.")
        features = given if self.features is None else self.features
        if self.features is None:
            self._make_weights(features)
        if given not in (1, features):
            raise ValueError(
                f"This {type(self).__name__} is made for {features} features. Received: statistics of {given}. "
                "Fit a new one."
            )
        arrays[1] = np.where(arrays[1] > SMALLEST_SCALE, arrays[1], 0.0)
        for weight, array in zip((self.shift, self.scale, self.mean), arrays, strict=True):
            if weight is not None:
                weight.assign(np.broadcast_to(array, (features,)).astype("float32"))


def _checked(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Returns shift, scale and mean, or raises unless they are finite, of one length, and the scale is not negative."""
    features = max(map(len, arrays))
    if not all(array.ndim == 1 and len(array) in (1, features) and np.isfinite(array).all() for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"Statistics must be finite, one number or one number a feature. Received: shapes {shapes}, "
            f"{sum(int((~np.isfinite(array)).sum()) for array in arrays)} of the values NaN or infinite."
        )
    if (arrays[1] < 0).any():
        raise ValueError(f"A scale must not be negative. Received: {arrays[1].min()}. Swap `low` and `high`?")
    return arrays


@keras.saving.register_keras_serializable(package="gruvlike")
class Standardizer(Affine):
    """Mean 0 and standard deviation 1 for each feature, as in the paper.

    Args:
        features: F, known once fitted; leave it out.
        mean, std: Statistics `(F,)`, if they are known; else call `fit`. Both or none.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.Standardizer(mean=[1.0, 2.0], std=[0.5, 0.0])([[2.0, 7.0]])
        array([[2., 0.]], dtype=float32)

    References:
        Nayebi and Vitelli, GRUV: Algorithmic Music Generation using Recurrent Neural Networks, Stanford CS224d, 2015.
    """

    def __init__(
        self, features: int | None = None, *, mean: ArrayLike | None = None, std: ArrayLike | None = None, **kwargs: Any
    ):
        super().__init__(features, **kwargs)
        if mean is not None or std is not None:
            self._assign(mean, std, mean)

    @property
    def spread(self) -> Tensor:
        """Ones `(F,)`, and zeros for features that never vary."""
        self._require_fitted()
        _, scale, _ = self._weights(keras.ops)
        return keras.ops.cast(scale > 0, "float32")

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation."""
        return statistics.mean, np.sqrt(statistics.variance)


@keras.saving.register_keras_serializable(package="gruvlike")
class GlobalScale(Affine):
    """One mean and one standard deviation for all features: the relative strength of the features survives.

    Args:
        features: F, known once fitted; needed if the statistics are given.
        mean, std: Statistics, one number each, if they are known; else call `fit`. Both or none.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.GlobalScale(2, mean=1.0, std=2.0)([[2.0, 7.0]])
        array([[0.5, 3. ]], dtype=float32)
    """

    def __init__(
        self, features: int | None = None, *, mean: ArrayLike | None = None, std: ArrayLike | None = None, **kwargs: Any
    ):
        super().__init__(features, **kwargs)
        if mean is not None or std is not None:
            self._assign(mean, std, mean)

    def choose(self, statistics: Statistics) -> tuple[float, float]:
        """Returns mean and standard deviation of all numbers of all frames."""
        mean = statistics.mean.mean()
        return float(mean), float(np.sqrt(np.mean(statistics.variance + (statistics.mean - mean) ** 2)))


@keras.saving.register_keras_serializable(package="gruvlike")
class MinMax(Affine):
    """Each feature to [-1, 1] over the training frames.

    Args:
        features: F, known once fitted; leave it out.
        low, high: The least and the greatest value of each feature `(F,)`, if they are known; else call `fit`.
        mean: Mean of each feature, for `center` alone; by default halfway between `low` and `high`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.MinMax(low=[0.0, 0.0], high=[2.0, 10.0])([[2.0, 5.0]])
        array([[1., 0.]], dtype=float32)
    """

    def __init__(
        self,
        features: int | None = None,
        *,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        mean: ArrayLike | None = None,
        **kwargs: Any,
    ):
        super().__init__(features, **kwargs)
        if low is not None and high is not None:
            least, greatest = np.asarray(low, "float64"), np.asarray(high, "float64")
            middle = (least + greatest) / 2
            self._assign(middle, (greatest - least) / 2, middle if mean is None else mean)
        elif low is not None or high is not None or mean is not None:
            raise ValueError("`low` and `high` must be given together. Received: one of them is None.")

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        """Returns the middle between least and greatest value, and half their difference."""
        return (statistics.low + statistics.high) / 2, (statistics.high - statistics.low) / 2


@keras.saving.register_keras_serializable(package="gruvlike")
class Identity(Affine):
    """Frames as they are. It works without `fit`, which only tells it the mean for `center` (else 0).

    Args:
        features: F, known once fitted; leave it out.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.Identity()([[2.0, 7.0]])
        array([[2., 7.]], dtype=float32)
    """

    needs_fit = False

    @property
    def fitted(self) -> bool:
        """True: there is nothing to fit."""
        return True

    @property
    def center(self) -> Tensor:
        """The training mean `(F,)`, or zeros `(1,)` before `fit`."""
        return keras.ops.zeros((1,), "float32") if self.mean is None else keras.ops.convert_to_tensor(self.mean)

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        """Returns zeros and ones."""
        return np.zeros_like(statistics.mean), np.ones_like(statistics.mean)

    def normalize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames."""
        return frames

    def restore(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames."""
        return frames

    def _require_fitted(self, values: bool = False) -> None:
        pass
