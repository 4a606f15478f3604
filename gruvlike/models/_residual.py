"""Layers of a stack that know the deviations of the music, or the frames that the next one is like."""

from collections.abc import Sequence
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

    A network that reads noise learns not to trust the last detail of its input, which in a song are its own errors; but
    its predictions are noisy, too. With `told_level` the level of the noise is drawn anew for each window, and the
    network reads it: in a song it is told `told_level`, whatever it was in training.

    Args:
        width: Numbers in a frame, W.
        level: Deviation of the noise, over that of the music; with `told_level` the greatest.
        shares: For each of the frames that are put together in the input: its share of the level.
        told_level: The level that a network is told outside of training; `None`: it is told none.
        seed: Of the noise; `None` follows `keras.utils.set_random_seed`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        frames_alone: Says that each frame is treated alone: a song needs no more of the past for it.

    References:
        Ho et al., "Cascaded Diffusion Models for High Fidelity Image Generation", 2022 (a network that is told how
        noisy its conditions are).
    """

    frames_alone = True

    def __init__(
        self,
        width: int,
        level: float,
        shares: Sequence[float] = (1.0,),
        told_level: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.width, self.level, self.seed = (
            _checks.positive_int("width", width),
            _checks.number("level", level, 0),
            seed,
        )
        self.shares = tuple(_checks.number("shares", share, 0) for share in shares)
        self.told_level = None if told_level is None else _checks.number("told_level", told_level, 0)
        self.random = keras.random.SeedGenerator(seed)
        self.spread = self.add_weight(shape=(width,), initializer="ones", trainable=False, name="spread")
        self.built = True

    def adapt(self, spread: Any) -> None:
        """Takes the deviations, (W,)."""
        # The spread is copied, because JAX gives the buffers of all variables to a training step. JAX refuses a buffer
        # that two of them share.
        self.spread.assign(np.array(ops.convert_to_numpy(spread)))

    def call(self, frames: Tensor, training: bool | None = None) -> Tensor:
        """Returns frames (B, T, n * W), with noise in training; with `told_level`, one more number: the level."""
        rows, steps = ops.shape(frames)[:2]
        level: Any = self.level
        if self.told_level is not None:
            level = ops.full((rows, 1, 1), self.told_level)
            if training:
                level = self.level * keras.random.uniform((rows, 1, 1), seed=self.random)
        if training and self.level:
            noise = keras.random.normal(ops.shape(frames), dtype="float32", seed=self.random)
            spread = ops.convert_to_tensor(self.spread)
            frames = frames + level * noise * ops.concatenate([share * spread for share in self.shares])
        if self.told_level is None:
            return frames
        return ops.concatenate([frames, ops.broadcast_to(level, (rows, steps, 1))], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` gives."""
        return (*input_shape[:-1], len(self.shares) * self.width + (self.told_level is not None))


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
        """Returns outputs (B, T, O) moved by the sum of gates (B, T, n * W) times frames, the first n * W sources."""
        size = gates.shape[-1]
        parts = ops.split(gates * sources[..., :size], size // self.width, axis=-1)
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
