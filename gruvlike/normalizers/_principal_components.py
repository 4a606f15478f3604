"""Frames as few numbers: the coefficients of their principal components."""

import warnings
from typing import Any, Self

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._arrays import HOST
from gruvlike._backend import host_bytes
from gruvlike._contracts import AnyMusic, ArrayFunctions, FramesOfSound, Tensor
from gruvlike._music import rows
from gruvlike.normalizers._moments import EvenSample, Moments, quantiles
from gruvlike.normalizers._normalizer import Normalizer
from gruvlike.normalizers._statistics import frames_of, noise_of

_OUTSIDE_FRAMES = 0.0005  # share of the training frames on each side of the bounds of a feature
_OUTSIDE_NUMBERS = 0.0003  # the same for the bounds of a coefficient
_ROWS_AT_ONCE = 4096
_WEAKEST = 1e-6  # a direction of less variance, as a share of the largest, counts as one without: it may be rounding


@keras.saving.register_keras_serializable(package="gruvlike")
class PrincipalComponents(Normalizer):
    """The coefficients of the strongest directions of standardized frames, each divided by the root of its deviation.

    With x a frame, m and s the mean and deviation of each feature, V the directions (F, W) and d the deviation of each
    coefficient, a normalized frame is `((x - m) / s) @ V * c / sqrt(d)`. One c makes their mean variance 1. So strong
    coefficients keep some of their strength: dividing by d itself would raise the weakest ones to the same level.

    The way back clips each feature to its .05 % and 99.95 % quantiles over the training frames: a prediction off the
    directions of music does not become a peak. `bounds` holds the .03 % and 99.97 % quantiles of each normalized
    number; `normalize` does not clip.

    A feature that never varies (`Affine` says when) is left out, and decodes to its mean. A direction along which
    nothing varies has the scale 0: its number is always 0, as with more components than the frames have dimensions. So
    is that of a direction with less than a millionth of the largest variance (60 dB), which rounding can bring about.

    Args:
        components: W, how many numbers a frame has afterwards.
        features: F, known once fitted; leave it out.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        mean, std: Of each feature, variables of shape `(F,)`; `None` before `fit`. `std` is 0 for constant features.
        directions: Unit vectors in the columns of a variable `(F, W)`, the strongest first.
        scale: The factor of each coefficient, a variable `(W,)`.

    Raises:
        ValueError: If `components` is not a positive integer, or exceeds `features`.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> encoder = gl.TimeBlocks(2)
        >>> music = np.array([0.1, 0.1, 0.3, 0.3, 0.5, 0.5], "float32")
        >>> normalizer = gl.PrincipalComponents(1).fit(music, encoder)
        >>> np.round(normalizer(encoder.encode(music)), 4)
        array([[-1.2247], [ 0.    ], [ 1.2247]], dtype=float32)
        >>> np.round(normalizer.inverse([[0.0], [9.0]]), 4)
        array([[0.3, 0.3], [0.5, 0.5]], dtype=float32)

    References:
        Jolliffe, Principal Component Analysis, 2nd edition, Springer, 2002.
    """

    def __init__(self, components: int = 128, features: int | None = None, **kwargs: Any):
        width = _checks.positive_int("components", components)
        super().__init__(features, width, **kwargs)
        self.components = width
        self.mean: keras.Variable | None = None
        self.std: keras.Variable | None = None
        self.directions: keras.Variable | None = None
        self.scale: keras.Variable | None = None
        self._deviation: keras.Variable | None = None
        self._bounds: keras.Variable | None = None
        self._frame_bounds: keras.Variable | None = None
        if self.features is not None:
            self._make_weights(self.features)

    def fit(self, music: AnyMusic, encoder: FramesOfSound) -> Self:
        """Measures the frames of music in one pass, in constant memory.

        Only frames that lie wholly inside a track are measured: none contains silence that pads the edge of a track.
        Memory holds a matrix of F x F numbers in float64, another one in float32, and for the quantiles at most 16384
        frames (128 MB), evenly chosen. The time for a frame grows with the square of F: some hundred features take less
        time than to encode the frame, several thousand take many times as long.

        Args:
            music: As in `Affine.fit`.
            encoder: The `Encoder` whose frames are measured.

        Returns:
            The normalizer itself.

        Raises:
            ValueError: If there are more components than features, the matrix does not fit in memory, no track is as
                long as one frame, or a frame is not finite.

        Warns:
            UserWarning: If no feature varies, as in silence.

        Example:
            >>> import gruvlike as gl
            >>> music = gl.tune.compose(2, 8000)
            >>> normalizer = gl.PrincipalComponents(20).fit(music, gl.LogSpectrum(256))
            >>> normalizer.features, normalizer.width, normalizer.bounds[0].shape[0]
            (129, 20, 20)
        """
        self._check_features(encoder.features)
        _check_memory(encoder.features, self.components)
        moments, sample = Moments(encoder.features), EvenSample(encoder.features)
        for frames in frames_of(music, encoder):
            moments.add(frames)
            sample.add(frames)
        if self.features is None:
            self._make_weights(encoder.features)
        deviation = np.sqrt(moments.variance)
        std = np.where(deviation > noise_of(moments.mean, deviation), deviation, 0.0)
        variances, directions = moments.principal(std, self.components)
        scale, spread = _scale_of(variances)
        self._assign(mean=moments.mean, std=std, directions=directions, scale=scale, _deviation=spread)
        numbers = np.concatenate([self.normalize(part, HOST) for part in rows(sample.frames, _ROWS_AT_ONCE)])
        self._assign(
            _bounds=quantiles(numbers, _OUTSIDE_NUMBERS), _frame_bounds=quantiles(sample.frames, _OUTSIDE_FRAMES)
        )
        if not std.any():
            message = "No feature of this corpus varies (is it silence?): all frames will become zeros."
            warnings.warn(message, stacklevel=2)
        return self

    @property
    def center(self) -> Tensor:
        """Zeros `(W,)`: the mean is taken off."""
        self._require_fitted()
        return keras.ops.zeros((self.components,), "float32")

    @property
    def spread(self) -> Tensor:
        """The deviation of each normalized number over the training frames, a tensor `(W,)`; their mean square is 1."""
        self._require_fitted()
        return keras.ops.convert_to_tensor(self._deviation)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The .03 % and the 99.97 % quantiles of each normalized number, tensors `(W,)`, rounded outward."""
        self._require_fitted()
        bounds = keras.ops.convert_to_tensor(self._bounds)
        return bounds[0], bounds[1]

    def normalize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the coefficients (..., W) of frames (..., F)."""
        mean, std, directions, scale = self._weights(xp)
        return xp.matmul(frames - mean, directions * _inverse_of(std, xp)[:, None] * scale)

    def restore(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames (..., F) of coefficients (..., W), within the bounds of each feature."""
        mean, std, directions, scale = self._weights(xp)
        bounds = xp.convert_to_tensor(self._frame_bounds)
        back = xp.transpose(directions * std[:, None] * _inverse_of(scale, xp))
        return xp.minimum(xp.maximum(xp.matmul(frames, back) + mean, bounds[0]), bounds[1])

    def _weights(self, xp: ArrayFunctions) -> tuple[Any, Any, Any, Any]:
        """Returns mean, std, directions and scale as numpy arrays or as tensors."""
        read = xp.convert_to_tensor
        return read(self.mean), read(self.std), read(self.directions), read(self.scale)

    def _make_weights(self, features: int) -> None:
        self._check_features(features)
        self.features = features
        width = self.components
        self.mean = self.add_statistic("mean", (features,))
        self.std = self.add_statistic("std", (features,))
        self.directions = self.add_statistic("directions", (features, width))
        self.scale = self.add_statistic("scale", (width,))
        self._deviation = self.add_statistic("deviation", (width,))
        self._bounds = self.add_statistic("bounds", (2, width))
        self._frame_bounds = self.add_statistic("frame_bounds", (2, features))

    def _assign(self, **statistics: np.ndarray) -> None:
        for name, array in statistics.items():
            getattr(self, name).assign(array.astype("float32"))

    def _check_features(self, features: int) -> None:
        if self.features not in (None, features):
            raise ValueError(
                f"This PrincipalComponents is made for {self.features} features. Received: an encoder of {features}. "
                "Fit a new one."
            )
        if self.components > features:
            raise ValueError(
                f"`components` must be at most the features of a frame. Received: components={self.components}, "
                f"{features} features. Use fewer components or longer frames."
            )


def _inverse_of(numbers: Tensor, xp: ArrayFunctions) -> Tensor:
    """Returns 1 / numbers, and 0 for 0."""
    return xp.where(numbers > 0, 1.0 / xp.where(numbers > 0, numbers, 1.0), 0.0)


def _scale_of(variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the factor of each coefficient and its deviation after that, (W,) each, for falling variances."""
    deviation = np.sqrt(np.where(variances > _WEAKEST * variances[0], variances, 0.0))
    common = 1 / np.sqrt(deviation.mean()) if deviation.any() else 0.0
    scale = np.divide(common, np.sqrt(deviation), out=np.zeros_like(deviation), where=deviation > 0)
    return scale, scale * deviation


def _check_memory(features: int, components: int) -> None:
    """Raises if the covariance and its eigenvectors cannot fit in memory."""
    free, needed = host_bytes(), features * (12 * features + 16 * components)
    if free is not None and needed > free:
        raise ValueError(
            f"The covariance of the features must fit in memory. Received: {features} features, which take "
            f"{needed / 1e9:.3g} GB, with {free / 1e9:.3g} GB free. Use an encoder of fewer features (shorter frames, "
            "or `LogSpectrum` with `mels`), or `Standardizer`."
        )
