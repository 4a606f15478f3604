"""The contract between the frames of an encoder and the numbers that a network reads."""

from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from gruvlike import _checks
from gruvlike._arrays import HOST, TwoWayLayer, on_host
from gruvlike._contracts import AnyMusic, ArrayFunctions, FramesOfSound, Tensor


class Normalizer(TwoWayLayer):
    """Turns frames into numbers that a network learns well, and back; the base class of all normalizers.

    The width W of normalized frames may differ from the number F of features, as after a projection. A subclass
    defines

    - `fit(music, encoder)`, which measures, sets `features` and `width` where they are unknown, and returns itself;
    - `normalize(frames, xp)`: frames `(..., F)` to normalized frames `(..., W)`;
    - `restore(frames, xp)`: normalized frames `(..., W)` to frames `(..., F)`;
    - `center`, the normalized training mean `(W,)`;
    - where they are known, `spread` and `bounds`, the deviation and the range of each number.

    `xp` is either numpy or `keras.ops`. Statistics are weights, made by `add_statistic`, so that they travel in the
    model's file; `xp.convert_to_tensor(weight)` reads them in either world.

    Args:
        features: F, numbers in a frame of the encoder. `None`: not known before `fit`.
        width: W, numbers in a normalized frame. `None`: not known before `fit`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        features, width: As given, or as `fit` found them.
        needs_fit: Whether the normalizer works only after `fit`.

    Example:
        >>> import keras, numpy as np, gruvlike as gl
        >>> class FirstFeatures(gl.Normalizer):
        ...     def fit(self, music, encoder):
        ...         self.features = encoder.features
        ...         return self
        ...     def normalize(self, frames, xp):
        ...         return frames @ xp.eye(self.features, self.width, dtype="float32")
        ...     def restore(self, frames, xp):
        ...         return frames @ xp.eye(self.width, self.features, dtype="float32")
        ...     @property
        ...     def center(self):
        ...         return keras.ops.zeros(self.width)
        >>> normalizer = FirstFeatures(width=2).fit(np.zeros(9), gl.TimeBlocks(3))
        >>> normalizer.inverse(normalizer([[0.5, 0.25, 0.125]]))
        array([[0.5 , 0.25, 0.  ]], dtype=float32)
    """

    needs_fit: bool = True

    def __init__(self, features: int | None = None, width: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.features = None if features is None else _checks.positive_int("features", features)
        self.width = None if width is None else _checks.positive_int("width", width)
        self.built = True

    def fit(self, music: AnyMusic, encoder: FramesOfSound) -> Self:
        """Measures the frames of music, and returns the normalizer itself.

        Args:
            music: A `Corpus`; samples `(S,)` or `(B, S)`; or several tracks, samples, or (name, samples).
            encoder: The `Encoder` that makes the frames.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `fit(music, encoder)`.")

    def normalize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the normalized frames (..., W) of frames (..., F)."""
        raise NotImplementedError(f"{type(self).__name__} must define `normalize(frames, xp)`.")

    def restore(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames (..., F) of normalized frames (..., W)."""
        raise NotImplementedError(f"{type(self).__name__} must define `restore(frames, xp)`.")

    @property
    def center(self) -> Tensor:
        """The normalized training mean, a tensor `(W,)`: the prediction of a network that learned nothing else."""
        raise NotImplementedError(f"{type(self).__name__} must define `center`.")

    @property
    def spread(self) -> Tensor | None:
        """The deviation of each normalized number over the training frames, a tensor `(W,)`; `None`: not known."""
        return None

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The least and the greatest value that each normalized number takes in music, tensors `(W,)`.

        Rare extremes may lie outside. `None`: no bounds.
        """
        return None

    @property
    def fitted(self) -> bool:
        """Whether there are statistics, fitted, given or loaded."""
        is_known = self.features is not None and self.width is not None
        return is_known and not any(np.isnan(HOST.convert_to_tensor(weight)).any() for weight in self.weights)

    def inverse(self, frames: Tensor | ArrayLike) -> Tensor:
        """Returns frames in the encoder's units.

        Args:
            frames: Normalized frames `(..., W)`, numpy or tensor.

        Returns:
            Float32 frames `(..., F)` of the same kind.

        Raises:
            RuntimeError: If there are no statistics yet.

        Example:
            >>> import gruvlike as gl
            >>> gl.Standardizer(mean=[1.0, 2.0], std=[0.5, 0.0]).inverse([[2.0, 7.0]])
            array([[2., 2.]], dtype=float32)
        """
        return self(frames, reverse=True)

    def add_statistic(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        """Makes a weight for a number that `fit` measures: it is saved with the model, and never trained.

        Args:
            name: Name of the weight.
            shape: Its shape.

        Returns:
            The weight, float32. It holds NaN until it is assigned: a copy made from a config alone must not pass for
            fitted.

        Example:
            >>> import gruvlike as gl
            >>> normalizer = gl.Normalizer(features=2, width=2)
            >>> peak = normalizer.add_statistic("peak", (2,))
            >>> normalizer.fitted
            False
            >>> _ = peak.assign([0.5, 0.25])
            >>> normalizer.fitted
            True
        """
        return self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(np.nan),
            trainable=False,
            name=name,
            dtype="float32",
            autocast=False,  # the statistics stay float32 in a model of half precision
        )

    def __call__(self, inputs: Tensor | ArrayLike, reverse: bool = False, **kwargs: Any) -> Tensor:
        """Returns normalized frames `(..., W)` of frames `(..., F)`, numpy or tensor; the way back if `reverse`."""
        self._require_fitted(values=on_host(inputs))
        return super().__call__(inputs, reverse=reverse, **kwargs)

    def call(self, frames: Tensor | ArrayLike, reverse: bool = False) -> Tensor:
        """Returns the frames normalized, or restored if `reverse`."""
        is_numpy = on_host(frames)
        frames = np.asarray(frames, "float32") if is_numpy else keras.ops.cast(frames, "float32")
        self._check_shape(frames.shape, reverse)
        return (self.restore if reverse else self.normalize)(frames, HOST if is_numpy else keras.ops)

    def compute_output_shape(self, input_shape: tuple[int | None, ...], reverse: bool = False) -> tuple:
        """Returns the shape that `call` gives."""
        size = self.features if reverse else self.width
        return (*input_shape[:-1], input_shape[-1] if size is None else size)

    def compute_output_spec(self, frames: keras.KerasTensor, reverse: bool = False) -> keras.KerasTensor:
        """Returns the symbolic result of `call`."""
        self._check_shape(frames.shape, reverse)
        return keras.KerasTensor(self.compute_output_shape(frames.shape, reverse), dtype="float32")

    def _require_fitted(self, values: bool = False) -> None:
        # Values are looked at on the host only: a model that is being loaded traces its layers before it fills them.
        if self.features is None or self.width is None or (values and not self.fitted):
            raise RuntimeError(
                f"{type(self).__name__} has no statistics yet. Call `fit(corpus, encoder)` first, "
                "or load the whole model: its file holds them."
            )

    def _check_shape(self, shape: tuple[int | None, ...], reverse: bool) -> None:
        size = self.width if reverse else self.features
        if size is not None and tuple(shape[-1:]) != (size,):
            raise ValueError(
                f"`frames` must have {size} {'numbers' if reverse else 'features'}, as the frames that the statistics "
                f"are of. Received: shape={tuple(shape)}."
            )
