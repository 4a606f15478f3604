"""Layers of a stack that know the deviations of the music, or the frames that the next one is like."""

from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._arrays import PlainLayer
from gruvlike._contracts import Shape, Tensor
from gruvlike.heads import Head


@runtime_checkable
class KnowsSpread(Protocol):
    """A layer that depends on the deviation of each number of a normalized frame over the training music."""

    def adapt(self, spread: Any) -> None:
        """Takes the deviations, (W,)."""


@keras.saving.register_keras_serializable(package="gruvlike")
class FrameNoise(PlainLayer):
    """Adds Gaussian noise to frames in training, for each number in proportion to its deviation over the music.

    Args:
        width: Numbers in a frame, W; frames may be put together, (..., n * W).
        level: Deviation of the noise, over that of the music.
        seed: Of the noise; `None` follows `keras.utils.set_random_seed`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        frames_alone: Says that each frame is treated alone: a song needs no more of the past for it.
    """

    frames_alone = True

    def __init__(self, width: int, level: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.level, self.seed = (
            _checks.positive_int("width", width),
            _checks.number("level", level, 0),
            seed,
        )
        self.random = keras.random.SeedGenerator(seed)
        self.spread = self.add_weight(shape=(width,), initializer="ones", trainable=False, name="spread")
        self.built = True

    def adapt(self, spread: Any) -> None:
        """Takes the deviations, (W,)."""
        # A copy: JAX gives the buffers of all variables to a training step, and refuses one that two of them share.
        self.spread.assign(np.array(ops.convert_to_numpy(spread)))

    def call(self, frames: Tensor, training: bool | None = None) -> Tensor:
        """Returns the frames, with noise in training."""
        if not training or not self.level:
            return frames
        count = frames.shape[-1] // self.width
        noise = keras.random.normal(ops.shape(frames), stddev=self.level, dtype="float32", seed=self.random)
        return frames + noise * ops.tile(ops.convert_to_tensor(self.spread), (count,))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the frames."""
        return input_shape


@keras.saving.register_keras_serializable(package="gruvlike")
class GateBias(keras.initializers.Initializer):
    """Gates to start from: 0.4 of the last frame, and 0.5 of the mean of the lagged ones.

    Args:
        width: Numbers in a frame, W; the gates are those of the last frame, then of the others.
    """

    def __init__(self, width: int):
        self.width = width

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Returns the biases, (n * W,)."""
        others = shape[0] // self.width - 1
        bias = np.full(shape, 0.5 / max(1, others), "float32")
        bias[: self.width] = 0.4
        return ops.convert_to_tensor(bias, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"width": self.width}


@keras.saving.register_keras_serializable(package="gruvlike")
class Residual(PlainLayer):
    """Moves the expected frame by known frames, each number by a gate of its own: the stack predicts the rest.

    Args:
        head: The head of the model, whose outputs are moved.
        width: Numbers in a frame, W.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        frames_alone: As in `FrameNoise`.
    """

    frames_alone = True

    def __init__(self, head: Head, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.head, self.width = head, _checks.positive_int("width", width)
        shape = (head.outputs(width),)
        self.first = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="first")
        self.built = True
        self.adapt(np.ones(width, "float32"))

    def adapt(self, spread: Any) -> None:
        """Takes the deviations, (W,): outputs start from a guess of the head that fits them."""
        first = self.head.start(self.width, ops.convert_to_numpy(spread))
        if first is not None:
            self.first.assign(first)

    def call(self, outputs: Tensor, gates: Tensor, sources: Tensor) -> Tensor:
        """Returns outputs (B, T, O) moved by the sum of gates times frames, both (B, T, n * W)."""
        count = sources.shape[-1] // self.width
        parts = ops.split(gates * sources, count, axis=-1)
        offset = parts[0]
        for part in parts[1:]:
            offset = offset + part
        return self.head.shift(outputs + ops.convert_to_tensor(self.first), offset)

    def compute_output_shape(self, outputs_shape: Shape, gates_shape: Shape, sources_shape: Shape) -> Shape:
        """Returns the shape of the outputs."""
        return outputs_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"name": self.name, "head": keras.saving.serialize_keras_object(self.head), "width": self.width}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Residual":
        """Builds a layer from `get_config`'s dictionary."""
        return cls(**{**config, "head": keras.saving.deserialize_keras_object(config["head"])})
