"""Scale frames to what a network learns well, and back.

Shapes: frames `(..., F)`, float32. All normalizers here are affine, one shift and one scale a feature:
`(frames - shift) / scale`, with 0 in place of the quotient where a feature never varies.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._arrays import TwoWayLayer, on_host

SMALLEST_SCALE = 1e-8  # features that vary less are constant
FLOAT32_NOISE = float(np.finfo("float32").eps)


class Statistics(NamedTuple):
    """Of each feature over all training frames, float64 `(F,)`; `count` is the number of frames."""

    count: int
    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Normalizer(TwoWayLayer):
    """Scales frames, invertibly; the base class of all normalizers.

    A subclass defines `choose(statistics)`, which returns the shift and the scale of each feature. The statistics are
    weights: they travel in the model's file. A scale of 0 marks a constant feature: it encodes to 0 and decodes to
    its mean, whatever the network says. `fit` marks those whose standard deviation is at most 1e-8, or so far below
    their mean or the strongest feature that it is rounding noise of float32 (138 dB).

    Args:
        features: F, known once fitted; leave it out.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        shift, scale, mean: the statistics, variables of shape `(F,)`; None before `fit`.
    """

    needs_fit: bool = True

    def __init__(self, features: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.features = None
        self.shift = self.scale = self.mean = None
        if features is not None:
            self._make_weights(_checks.positive_int("features", features))
        self.built = True

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        """Returns the shift and the scale of each feature, `(F,)` each."""
        raise NotImplementedError(f"{type(self).__name__} must define `choose(statistics)`.")

    def fit(self, corpus: Any, encoder: Any) -> Self:
        """Measures the frames of a corpus in one pass, in constant memory.

        Args:
            corpus: a `Corpus`, an array of samples `(S,)` or `(B, S)`, or an iterable of tracks or such arrays.
            encoder: the `Encoder` whose frames are scaled.

        Returns:
            The normalizer itself.

        Raises:
            ValueError: no track is as long as one frame, or the statistics are not finite.

        Warns:
            UserWarning: no feature varies, as in silence.

        Example:
            >>> import numpy as np, gruvlike as gl
            >>> encoder = gl.TimeBlocks(2)
            >>> normalizer = gl.Standardizer().fit(np.array([0.0, 0.2, 0.2, 0.6], "float32"), encoder)
            >>> normalizer(encoder.encode([0.2, 0.6]))
            array([[1., 1.]], dtype=float32)
        """
        statistics = measure(corpus, encoder)
        shift, scale = self.choose(statistics)
        std = np.sqrt(statistics.variance)
        # Below this a feature is rounding noise of a transform in float32, not sound.
        noise = FLOAT32_NOISE * np.maximum(np.abs(statistics.mean), np.hypot(statistics.mean, std).max())
        varies = (std if np.ndim(scale) else scale) > np.maximum(noise, SMALLEST_SCALE)
        self._assign(np.where(varies, shift, statistics.mean), np.where(varies, scale, 0.0), statistics.mean)
        if self.needs_fit and not varies.any():
            message = "No feature of this corpus varies (is it silence?): all frames will be scaled to 0."
            warnings.warn(message, stacklevel=2)
        return self

    @property
    def width(self) -> int | None:
        """Numbers of a normalized frame."""
        return self.features

    @property
    def fitted(self) -> bool:
        """Whether there are statistics, fitted, given or loaded."""
        return self.features is not None and not np.isnan(_to_numpy(self.scale)).any()

    @property
    def center(self) -> Any:
        """The training mean in normalized units, `(F,)`: what a predictor that learned nothing else would say."""
        self._require_fitted()
        return self._forward(keras.ops.convert_to_tensor(self.mean))

    def inverse(self, frames: Any) -> Any:
        """Returns frames in the encoder's units.

        Args:
            frames: normalized frames `(..., F)`, numpy or tensor.

        Returns:
            Float32 frames of the same shape and kind.

        Raises:
            RuntimeError: there are no statistics yet.

        Example:
            >>> import gruvlike as gl
            >>> gl.Standardizer(mean=[1.0, 2.0], std=[0.5, 0.0]).inverse([[2.0, 7.0]])
            array([[2., 2.]], dtype=float32)
        """
        return self(frames, reverse=True)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self._require_fitted(values=on_host(inputs))
        return super().__call__(inputs, *args, **kwargs)

    def call(self, frames: Any, reverse: bool = False) -> Any:
        """Returns the frames scaled, or scaled back if `reverse`."""
        frames = np.asarray(frames, "float32") if on_host(frames) else keras.ops.cast(frames, "float32")
        self._check_shape(frames.shape)
        return self._backward(frames) if reverse else self._forward(frames)

    def compute_output_shape(self, input_shape: tuple, reverse: bool = False) -> tuple:
        """Returns the shape that `call` gives, which is that of its input."""
        return input_shape

    def compute_output_spec(self, frames: Any, reverse: bool = False) -> keras.KerasTensor:
        """Returns the symbolic result of `call`."""
        self._check_shape(frames.shape)
        return keras.KerasTensor(frames.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the number of features; the statistics themselves are weights."""
        return {"name": self.name, "features": self.features}

    def _forward(self, frames: Any) -> Any:
        shift, scale, xp = self._values(frames)
        varies = scale > 0
        # A factor for each feature, not a choice for each number: two passes over the frames in place of three.
        factor = xp.where(varies, 1.0 / xp.where(varies, scale, 1.0), 0.0)
        return (frames - shift) * factor

    def _backward(self, frames: Any) -> Any:
        shift, scale, _ = self._values(frames)
        return frames * scale + shift

    def _values(self, frames: Any) -> tuple[Any, Any, Any]:
        if on_host(frames):
            return _to_numpy(self.shift), _to_numpy(self.scale), np
        return keras.ops.convert_to_tensor(self.shift), keras.ops.convert_to_tensor(self.scale), keras.ops

    def _require_fitted(self, values: bool = False) -> None:
        # Values are looked at on the host only: a model that is being loaded traces its layers before it fills them.
        if self.features is None or (values and not self.fitted):
            raise RuntimeError(
                f"{type(self).__name__} has no statistics yet. Call `fit(corpus, encoder)` first, "
                "or load the whole model: its file holds them."
            )

    def _check_shape(self, shape: Any) -> None:
        if self.features is not None and tuple(shape[-1:]) != (self.features,):
            raise ValueError(
                f"`frames` must have {self.features} features, as the frames that the statistics are of. "
                f"Received: shape={tuple(shape)}."
            )

    def _make_weights(self, features: int) -> None:
        """Makes the weights, as NaN: a copy made from a config alone must not pass for fitted."""
        self.features = features
        for name in ("shift", "scale", "mean"):
            # Without autocast: in a model of half precision the statistics stay float32.
            weight = self.add_weight(
                shape=(features,),
                initializer=keras.initializers.Constant(np.nan),
                trainable=False,
                name=name,
                dtype="float32",
                autocast=False,
            )
            setattr(self, name, weight)

    def _assign(self, shift: Any, scale: Any, mean: Any) -> None:
        """Stores statistics: numbers, or arrays (F,)."""
        if any(array is None for array in (shift, scale, mean)):
            raise ValueError("Statistics must be given together, all of them or none. Received: some of them are None.")
        arrays = [np.atleast_1d(np.asarray(array, "float64")) for array in (shift, scale, mean)]
        features = max(len(array) for array in arrays)
        if not all(array.ndim == 1 and len(array) in (1, features) and np.isfinite(array).all() for array in arrays):
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise ValueError(
                f"Statistics must be finite, one number or one number a feature. Received: shapes {shapes}, "
                f"{sum(int((~np.isfinite(array)).sum()) for array in arrays)} of the values NaN or infinite."
            )
        if (arrays[1] < 0).any():
            raise ValueError(f"A scale must not be negative. Received: {arrays[1].min()}. Swap `low` and `high`?")
        if self.features is None and np.ndim(mean) == 0:
            raise ValueError("Statistics that are one number need `features`. Received: features=None.")
        if self.features is None:
            self._make_weights(features)
        if features not in (1, self.features):
            raise ValueError(
                f"This {type(self).__name__} is made for {self.features} features. Received: statistics of {features}. "
                "Fit a new one."
            )
        arrays[1] = np.where(arrays[1] > SMALLEST_SCALE, arrays[1], 0.0)
        for weight, array in zip((self.shift, self.scale, self.mean), arrays, strict=True):
            weight.assign(np.broadcast_to(array, (self.features,)).astype("float32"))


@keras.saving.register_keras_serializable(package="gruvlike")
class Standardizer(Normalizer):
    """Mean 0 and standard deviation 1 for each feature, as in the paper.

    Args:
        mean, std: statistics `(F,)`, if they are known; else call `fit`. Both or none.
        features: F, known once fitted; leave it out.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.Standardizer(mean=[1.0, 2.0], std=[0.5, 0.0])([[2.0, 7.0]])
        array([[2., 0.]], dtype=float32)

    References:
        Nayebi and Vitelli, GRUV: Algorithmic Music Generation using Recurrent Neural Networks, Stanford CS224d, 2015.
    """

    def __init__(self, features: int | None = None, *, mean: Any = None, std: Any = None, **kwargs: Any):
        super().__init__(features, **kwargs)
        if mean is not None or std is not None:
            self._assign(mean, std, mean)

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        return statistics.mean, np.sqrt(statistics.variance)


@keras.saving.register_keras_serializable(package="gruvlike")
class GlobalScale(Normalizer):
    """One mean and one standard deviation for all features: the relative strength of the features survives.

    Args:
        features: F, known once fitted; needed if the statistics are given.
        mean, std: statistics, one number each, if they are known; else call `fit`. Both or none.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.GlobalScale(2, mean=1.0, std=2.0)([[2.0, 7.0]])
        array([[0.5, 3. ]], dtype=float32)
    """

    def __init__(self, features: int | None = None, *, mean: Any = None, std: Any = None, **kwargs: Any):
        super().__init__(features, **kwargs)
        if mean is not None or std is not None:
            self._assign(mean, std, mean)

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        mean = statistics.mean.mean()
        return mean, np.sqrt(np.mean(statistics.variance + (statistics.mean - mean) ** 2))


@keras.saving.register_keras_serializable(package="gruvlike")
class MinMax(Normalizer):
    """Each feature to [-1, 1] over the training frames.

    Args:
        features: F, known once fitted; leave it out.
        low, high: the least and the greatest value of each feature `(F,)`, if they are known; else call `fit`.
        mean: of each feature, only for `center`. Default: halfway.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.MinMax(low=[0.0, 0.0], high=[2.0, 10.0])([[2.0, 5.0]])
        array([[1., 0.]], dtype=float32)
    """

    def __init__(
        self, features: int | None = None, *, low: Any = None, high: Any = None, mean: Any = None, **kwargs: Any
    ):
        super().__init__(features, **kwargs)
        if low is not None and high is not None:
            low, high = np.asarray(low, "float64"), np.asarray(high, "float64")
            self._assign((low + high) / 2, (high - low) / 2, (low + high) / 2 if mean is None else mean)
        elif low is not None or high is not None or mean is not None:
            raise ValueError("`low` and `high` must be given together. Received: one of them is None.")

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        return (statistics.low + statistics.high) / 2, (statistics.high - statistics.low) / 2


@keras.saving.register_keras_serializable(package="gruvlike")
class Identity(Normalizer):
    """Frames as they are. It works without `fit`, which only tells it the mean for `center` (else 0).

    Args:
        features: F, known once fitted; leave it out.
        **kwargs: arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import gruvlike as gl
        >>> gl.Identity()([[2.0, 7.0]])
        array([[2., 7.]], dtype=float32)
    """

    needs_fit = False
    fitted = True

    @property
    def center(self) -> Any:
        """The training mean `(F,)`, or zeros `(1,)` before `fit`."""
        return keras.ops.zeros((1,), "float32") if self.mean is None else keras.ops.convert_to_tensor(self.mean)

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros_like(statistics.mean), np.ones_like(statistics.mean)

    def _require_fitted(self, values: bool = False) -> None:
        pass

    def _forward(self, frames: Any) -> Any:
        return frames

    def _backward(self, frames: Any) -> Any:
        return frames


def _to_numpy(weight: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(weight))


def measure(corpus: Any, encoder: Any) -> Statistics:
    """Returns the statistics of all frames of a corpus: one pass, constant memory, float64.

    Args:
        corpus: as in `Normalizer.fit`.
        encoder: the `Encoder` that makes the frames.

    Raises:
        ValueError: no track is as long as one frame, or a value is not finite.

    References:
        Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """
    from tqdm import tqdm

    total, longest = None, 0
    count = len(corpus) if hasattr(corpus, "__len__") else None
    for track in tqdm(
        _tracks(corpus), total=count, desc="statistics", unit="track", delay=3, leave=False, disable=None
    ):
        longest = max(longest, track.shape[-1])
        if track.size:
            for frames in encoder.encode_stream([track], padded=False):
                part = _part(frames)
                total = part if total is None else _merge(total, part)
    if total is None:
        raise ValueError(
            f"A corpus must hold at least one whole frame, {encoder.span(1)} samples. "
            f"Received: a longest track of {longest} samples. Use smaller blocks or longer tracks."
        )
    return total._replace(variance=total.variance / total.count)


def _tracks(corpus: Any) -> Iterator[np.ndarray]:
    """Yields the samples of each track: arrays (S,) or (B, S)."""
    single = isinstance(corpus, np.ndarray) or hasattr(corpus, "pcm")
    for track in [corpus] if single else corpus:
        yield np.asarray(getattr(track, "pcm", track))


def _part(frames: np.ndarray) -> Statistics:
    """Returns the statistics of frames (T, F) or (B, T, F), with the sum of squared deviations as `variance`."""
    frames = frames.reshape(-1, frames.shape[-1])
    mean = frames.mean(axis=0, dtype="float64")
    deviations = ((frames - mean) ** 2).sum(axis=0)
    return Statistics(len(frames), mean, deviations, frames.min(axis=0), frames.max(axis=0))


def _merge(a: Statistics, b: Statistics) -> Statistics:
    count = a.count + b.count
    shift = b.mean - a.mean
    deviations = a.variance + b.variance + shift**2 * (a.count * b.count / count)
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    return Statistics(count, a.mean + shift * (b.count / count), deviations, low, high)


_NAMES: dict[str, type[Normalizer]] = {
    "standardizer": Standardizer,
    "global_scale": GlobalScale,
    "min_max": MinMax,
    "identity": Identity,
}


def get(normalizer: str | Normalizer, **options: Any) -> Normalizer:
    """Returns the normalizer of a name, for configuration files; a normalizer is returned as it is.

    Args:
        normalizer: "standardizer", "global_scale", "min_max" or "identity"; or a `Normalizer`.
        **options: arguments of that normalizer's class.

    Raises:
        ValueError: the name is unknown, or options come with a normalizer that is already made.
        TypeError: the normalizer does not know an option.

    Example:
        >>> from gruvlike import normalizers
        >>> normalizers.get("standardizer").fitted
        False
    """
    return _checks.by_name("normalizer", normalizer, Normalizer, _NAMES, options)
