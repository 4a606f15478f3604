"""One step of generation: a frame and the states before it give the next frame and the states after it.

The compiled loops take the whole step. Where a stack reads many frames at once (the past that is fed again, rollout and
scheduled sampling in training, the free-running loss), the next frame is made by the same two parts: the head, which
alone knows the meaning of the stack's outputs, and `bounded`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from gruvlike._contracts import Tensor
from gruvlike._step._stateless import StatelessStack, inputs_of
from gruvlike.heads import Head

_TINY = 1e-6  # a number that does not change counts as having this variance
# A leash scales a frame by at most this, so that a number that has stood still is not torn away.
_MOST = 1.5


class Carried(NamedTuple):
    """All that a step needs of the past.

    Attributes:
        frame: The frame that the next step reads, (B, W).
        states: The states of the recurrent layers before it, flat; with a leash, the running mean and variance of the
            frames (B, W) after them.
    """

    frame: Tensor
    states: list[Tensor]


class Pull(NamedTuple):
    """The leash of a song, as data: running mean and deviation of its frames are drawn to those of its seed.

    Attributes:
        strength: Share of the distance of the mean that is taken back at each step, and the power of the ratio of the
            deviations that frames are scaled by; 0 = not at all.
        mean: The mean that it is drawn to, (B, W).
        deviation: The deviation that it is drawn to, (B, W).
    """

    strength: Any
    mean: Tensor
    deviation: Tensor

    def applied(self, frame: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Returns a frame (B, W) drawn to the seed, of a song with this running mean and variance."""
        ratio = self.deviation / keras.ops.sqrt(variance + _TINY)
        ratio = keras.ops.clip(ratio**self.strength, 1 / _MOST, _MOST)
        return mean + (frame - mean) * ratio - self.strength * (mean - self.mean)


class Step:
    """(frame, states, noise, temperature) -> (next frame, states).

    Args:
        stack: A `StatelessStack`.
        head: Turns outputs of the stack into the next frame.
        width: Numbers in a frame that the network reads, W.
        bounds: Least and greatest value of each number of a frame, two arrays (W,): frames beyond are clipped.
        leash_frames: Frames that the running mean of a leash is taken over; `None`: there is none.

    Attributes:
        draws: Random numbers that one frame takes.
    """

    def __init__(
        self,
        stack: StatelessStack,
        head: Head,
        width: int,
        bounds: tuple[np.ndarray, np.ndarray] | None = None,
        leash_frames: float | None = None,
    ):
        self.stack, self.head, self.width = stack, head, width
        self.bounds, self.leash_frames = bounds, leash_frames
        self.draws = head.draws(width)

    def start(self, batch_size: int) -> Carried:
        """Returns the beginning of every sound: a frame of zeros, and the initial states."""
        nothing = keras.ops.zeros((batch_size, self.width), "float32")
        states = self.stack.initial_states(batch_size)
        return Carried(nothing, states if self.leash_frames is None else [*states, nothing, nothing])

    def read(
        self,
        frames: Tensor,
        states: list[Tensor],
        given: Mapping[str, Tensor] | None = None,
        call: Callable[[Any], Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Reads frames (B, T, W) from the states before them; returns outputs (B, T, O) and the states after them.

        `given` are the numbers of the other inputs of the stack, each (B, T, n), by name. `call` runs the stack's model
        on its inputs; `None` calls the model itself, without dropout.
        """
        return self.stack.step(call or self._call, inputs_of(self.stack.model, frames, given), states)

    def _call(self, inputs: Any) -> Tensor:
        return self.stack.model(inputs, training=False)

    def __call__(
        self,
        carried: Carried,
        noise: Tensor | None = None,
        temperature: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        pull: Pull | None = None,
        call: Callable[[Any], Tensor] | None = None,
    ) -> Carried:
        """Takes one step.

        Args:
            carried: The frame to read, and the states before it.
            noise: Uniform numbers in (0, 1), (B, draws); `None` takes the expected frame.
            temperature: A number, at least 0; `None` takes the expected frame.
            given: Numbers of the other inputs, each (B, n), by name.
            pull: Of the leash, where there is one.
            call: As for `read`.

        Returns:
            The next frame (B, W), float32, and the states after the step.
        """
        frame, states = carried
        if self.leash_frames is not None:
            *states, mean, variance = states
        one_step = {name: numbers[:, None, :] for name, numbers in (given or {}).items()}
        outputs, states = self.read(frame[:, None, :], states, one_step, call)
        following = self.head.next_frame(outputs[:, 0, :], noise, temperature)
        if self.leash_frames is not None and pull is not None:
            following = pull.applied(following, mean, variance)
        following = bounded(following, self.bounds)
        if self.leash_frames is not None:
            distance = following - mean
            variance = variance + (distance * distance - variance) / self.leash_frames
            states = [*states, mean + distance / self.leash_frames, variance]
        return Carried(following, states)


def bounded(frames: Tensor, bounds: tuple[Any, Any] | None) -> Tensor:
    """Returns frames (..., W) clipped to the least and greatest value of each number, where those are known."""
    return frames if bounds is None else keras.ops.minimum(keras.ops.maximum(frames, bounds[0]), bounds[1])


def uniform_noise(random_seed: int, clip: int, first: int, steps: int, draws: int) -> np.ndarray:
    """Returns uniform numbers in (0, 1), float32 (steps, draws), of one clip from step `first` on.

    Each number is a function of the random seed, the clip, the step and its place alone: a counter-based generator is
    set to the step. So a song does not depend on how it is cut into chunks, or on the clips beside it.

    References:
        Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox).
    """
    blocks = -(-draws // 4)  # a counter of Philox gives four numbers of 64 bits
    key = np.random.SeedSequence((random_seed, clip)).generate_state(2, np.uint64)
    generator = np.random.Philox(key=key)
    generator.advance(first * blocks)
    numbers = generator.random_raw(steps * blocks * 4).reshape(steps, blocks * 4)[:, :draws]
    # The numbers have 23 bits and a half, so float32 holds each of them exactly. None of them is 0 or 1.
    return ((numbers >> np.uint64(41)).astype("float32") + np.float32(0.5)) * np.float32(2.0**-23)
