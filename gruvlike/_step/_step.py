"""One step of generation: a frame and the states before it give the next frame and the states after it.

Every way to continue a sound takes this step: the compiled loops, the past that is fed again, rollout and scheduled
sampling in training, and the free-running loss. The head alone knows the meaning of the stack's outputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from gruvlike._contracts import Tensor
from gruvlike._step._stateless import StatelessStack
from gruvlike.heads import Head


class Carried(NamedTuple):
    """All that a step needs of the past.

    Attributes:
        frame: The frame that the next step reads, (B, W).
        states: The states of the recurrent layers before it, flat.
    """

    frame: Tensor
    states: list[Tensor]


class Step:
    """(frame, states, noise, temperature) -> (next frame, states).

    Args:
        stack: A `StatelessStack`.
        head: Turns outputs of the stack into the next frame.
        width: Numbers in a frame that the network reads, W.

    Attributes:
        draws: Random numbers that one frame takes.
    """

    def __init__(self, stack: StatelessStack, head: Head, width: int):
        self.stack, self.head, self.width = stack, head, width
        self.draws = head.draws(width)

    def start(self, batch_size: int) -> Carried:
        """Returns the beginning of every sound: a frame of zeros, and the initial states."""
        return Carried(keras.ops.zeros((batch_size, self.width), "float32"), self.stack.initial_states(batch_size))

    def read(
        self, frames: Tensor, states: list[Tensor], call: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Reads frames (B, T, W) from the states before them; returns outputs (B, T, O) and the states after them.

        `call` runs the stack's model on frames; `None` calls the model itself, without dropout.
        """
        return self.stack.step(call or self._call, frames, states)

    def _call(self, frames: Tensor) -> Tensor:
        return self.stack.model(frames, training=False)

    def __call__(
        self,
        frame: Tensor,
        states: list[Tensor],
        noise: Tensor | None = None,
        temperature: Tensor | None = None,
        call: Callable[[Tensor], Tensor] | None = None,
    ) -> Carried:
        """Takes one step.

        Args:
            frame: The frame to read, (B, W).
            states: The states before it, flat.
            noise: Uniform numbers in (0, 1), (B, draws); `None` takes the expected frame.
            temperature: A number, at least 0; `None` takes the expected frame.
            call: As for `read`.

        Returns:
            The next frame (B, W), float32, and the states after the step.
        """
        outputs, states = self.read(frame[:, None, :], states, call)
        return Carried(self.head.next_frame(outputs[:, 0, :], noise, temperature), states)


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
    # 23 bits and a half: float32 holds each of these numbers exactly, and none of them is 0 or 1.
    return ((numbers >> np.uint64(41)).astype("float32") + np.float32(0.5)) * np.float32(2.0**-23)
