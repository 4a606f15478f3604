"""The contract of all heads, the loss that Keras trains them by, and the head without a distribution."""

from typing import Any

import keras
from keras import ops

from gruvlike._arrays import PlainLayer
from gruvlike._contracts import Tensor


class Head(PlainLayer):
    """Turns outputs of a stack into a loss, an expected frame, and a frame that is drawn; the base class of all heads.

    Random numbers come in as data: `sample` gets `draws(width)` uniform numbers for each frame, which depend on the
    random seed, the clip and the step alone. So a song is the same in pieces of any size, and a clip alone or beside
    others. A head is saved in the model's file; it computes in float32 whatever the dtype policy.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        temperature: Of songs, unless `Generator` is told otherwise: 1 draws from the distribution as it was learned.
        residual: Whether `recurrent_stack` adds the last frame to the expected one, by `shift`, unless told otherwise.
        outputs_are_frames: Whether outputs, targets and frames are the same numbers: then a loss of mean squared error
            is the error of the expected frame, and is not computed twice.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> class Uniform(gl.heads.Head):  # the outputs, or as much as 0.5 beside them, all equally likely
        ...     def outputs(self, width):
        ...         return width
        ...     def draws(self, width):
        ...         return width
        ...     def loss(self, target, output):
        ...         return ops.max(ops.abs(target - output), axis=-1)
        ...     def mean(self, output):
        ...         return output
        ...     def sample(self, output, noise, temperature):
        ...         return output + temperature * (noise - 0.5)
        >>> output, noise = np.zeros((1, 2), "float32"), np.array([[0.5, 0.75]], "float32")
        >>> ops.convert_to_numpy(Uniform().next_frame(output, noise, temperature=2.0))
        array([[0. , 0.5]], dtype=float32)
    """

    residual = False
    outputs_are_frames = False
    temperature: float = 1.0

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.built = True  # otherwise each `train_on_batch` has Keras trace the whole model first, to build it

    def outputs(self, width: int) -> int:
        """Returns how many numbers the stack must give for a frame of `width` numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define `outputs(width)`.")

    def draws(self, width: int) -> int:
        """Returns how many random numbers one frame takes; 0: nothing is drawn."""
        return 0

    def target(self, frames: Tensor) -> Tensor:
        """Returns the target of the loss for frames (..., W): the frames themselves, unless a head has others.

        Example:
            >>> Point().target([[1.0, 2.0]])
            [[1.0, 2.0]]
        """
        return frames

    def frame(self, target: Tensor) -> Tensor:
        """Returns the frame (..., W) that the network reads for a target: undoes `target`.

        Example:
            >>> Point().frame([[1.0, 2.0]])
            [[1.0, 2.0]]
        """
        return target

    def loss(self, target: Tensor, output: Tensor) -> Tensor:
        """Returns the loss of each frame, (...,), between targets and outputs (..., O)."""
        raise NotImplementedError(f"{type(self).__name__} must define `loss(target, output)`.")

    def mean(self, output: Tensor) -> Tensor:
        """Returns the expected frame (..., W) of outputs (..., O)."""
        raise NotImplementedError(f"{type(self).__name__} must define `mean(output)`.")

    def sample(self, output: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """Draws a target from outputs (..., O).

        Args:
            output: Outputs of the stack, (..., O), float32.
            noise: Uniform numbers in (0, 1), (..., draws(W)).
            temperature: A number, at least 0: 1 draws from the distribution as it was learned, 0 takes its middle.

        Returns:
            A target, as `target` gives it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `sample(output, noise, temperature)`.")

    def shift(self, output: Tensor, offset: Tensor) -> Tensor:
        """Returns outputs (..., O) whose expected frames are greater by an offset (..., W).

        A stack predicts the difference to frames that it knows, such as the last one, by shifting its outputs by these.

        Example:
            >>> float(Point().shift(ops.ones((1, 2)), ops.ones((1, 2)))[0, 0])
            2.0
        """
        raise NotImplementedError(f"{type(self).__name__} must define `shift(output, offset)` for `residual=True`.")

    def start(self, width: int, spread: Tensor) -> Tensor | None:
        """Returns numbers (O,) that are added to the outputs of a stack, so that training starts from a good guess.

        Args:
            width: Numbers in a frame, W.
            spread: Deviation of each of these over the training music, (W,).

        Returns:
            Float32 (O,); `None`: nothing is added.

        Example:
            >>> Point().start(2, ops.ones(2)) is None
            True
        """
        return None

    def training_loss(self, loss: Any) -> Any:
        """Returns the loss that a model with this head is compiled with.

        Args:
            loss: The loss that the user gave to `compile`, or `None`.

        Raises:
            ValueError: If the head has a loss of its own and another was given.

        Example:
            >>> Point().training_loss(None), Point().training_loss("mae")
            ('mse', 'mae')
        """
        if loss is not None and not isinstance(loss, HeadLoss):  # a saved model brings the one that it had
            raise ValueError(
                f"A {type(self).__name__} head has a loss of its own. Received: loss={loss!r} beside it. Leave it out."
            )
        return HeadLoss(self)

    def next_frame(self, output: Tensor, noise: Tensor | None = None, temperature: Tensor | None = None) -> Tensor:
        """Returns the frame (..., W), float32, that follows from outputs: drawn, or without noise the expected one.

        Args:
            output: Outputs of the stack, (..., O).
            noise: Uniform numbers in (0, 1), (..., draws(W)); `None` gives the expected frame.
            temperature: As for `sample`; `None` gives the expected frame.

        Example:
            >>> ops.convert_to_numpy(Point().next_frame([[1.0, 2.0]]))
            array([[1., 2.]], dtype=float32)
        """
        output = ops.cast(output, "float32")
        if noise is None or temperature is None:
            return self.mean(output)
        return self.frame(self.sample(output, noise, temperature))


@keras.saving.register_keras_serializable(package="gruvlike")
class HeadLoss(keras.losses.Loss):
    """The loss of a head, as Keras wants it.

    Args:
        head: A `Head`.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    def __init__(self, head: Head, name: str = "head_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.head = head

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each frame, (B, T)."""
        return self.head.loss(y_true, ops.cast(y_pred, "float32"))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "head": keras.saving.serialize_keras_object(self.head)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HeadLoss":
        """Builds a loss from `get_config`'s dictionary."""
        return cls(**{**config, "head": keras.saving.deserialize_keras_object(config["head"])})


@keras.saving.register_keras_serializable(package="gruvlike")
class Point(Head):
    """The outputs are the next frame itself, as in the paper: regression, by mean squared error by default.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> head = Point()
        >>> float(head.loss(np.zeros((1, 1, 2), "float32"), np.array([[[1.0, 3.0]]], "float32"))[0, 0])
        5.0
    """

    outputs_are_frames = True

    def outputs(self, width: int) -> int:
        """Returns `width`."""
        return width

    def loss(self, target: Tensor, output: Tensor) -> Tensor:
        """Returns the mean squared error of each frame, (...,)."""
        return ops.mean(ops.square(target - output), axis=-1)

    def mean(self, output: Tensor) -> Tensor:
        """Returns the outputs."""
        return output

    def sample(self, output: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """Returns the outputs: nothing is drawn."""
        return output

    def shift(self, output: Tensor, offset: Tensor) -> Tensor:
        """Returns the sum."""
        return output + offset

    def training_loss(self, loss: Any) -> Any:
        """Returns `loss`, or mean squared error: any loss between frames will do."""
        return "mse" if loss is None else loss
