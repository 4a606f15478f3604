"""The past of a song: as states, which a step carries on, or as frames, which are fed again at each step."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from keras import ops

from gruvlike._contracts import Tensor
from gruvlike._step._forward import Forward
from gruvlike._step._loops import Loop
from gruvlike._step._step import Carried, uniform_noise
from gruvlike.heads import Head


class Memory(NamedTuple):
    """All that a generator knows after a seed: any song goes on from here. `Generator.listen` makes it.

    Attributes:
        frames: The last normalized frames, (B, T, W): one to read next, and all that sound on into the song.
        states: The states of the recurrent layers before the last of these frames, (B, units) each.
        samples: The sound under these frames, float32 (B, S).
    """

    frames: np.ndarray
    states: list[Tensor]
    samples: np.ndarray

    def repeat(self, clips: int) -> "Memory":
        """Returns the memory of `clips` clips that all begin as this one clip.

        Raises:
            ValueError: If this is a memory of several clips already.

        Example:
            >>> memory = Memory(np.zeros((1, 1, 4)), [np.zeros((1, 3))], np.zeros((1, 8)))
            >>> memory.repeat(5).frames.shape
            (5, 1, 4)
        """
        if clips == len(self.frames):
            return self
        if len(self.frames) != 1:
            raise ValueError(
                f"A memory of one clip can be continued by several. Received: clips={clips}, a memory of "
                f"{len(self.frames)} clips. Leave `clips` out."
            )
        states = [ops.repeat(state, clips, axis=0) for state in self.states]
        return Memory(np.repeat(self.frames, clips, axis=0), states, np.repeat(self.samples, clips, axis=0))


class Sampling(NamedTuple):
    """How frames are drawn.

    Attributes:
        temperature: At least 0.
        random_seed: Decides all draws.
    """

    temperature: float
    random_seed: int

    def noise(self, clips: Sequence[int], first: int, steps: int, draws: int) -> np.ndarray:
        """Returns the uniform numbers (clips, steps, draws) of steps from `first` on."""
        if not draws:
            return np.zeros((len(clips), steps, 0), np.float32)
        return np.stack([uniform_noise(self.random_seed, clip, first, steps, draws) for clip in clips])


class Past(Protocol):
    """Predicts a song, some frames at a time."""

    chunk: int  # the most frames that one call can take

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W)."""


class CarriedPast:
    """The whole past in the states: constant cost a step.

    Args:
        loop: The compiled loop, for as many clips as the memory has.
        memory: Where the song begins.
        sampling: How frames are drawn.
    """

    def __init__(self, loop: Loop, memory: Memory, sampling: Sampling):
        self.chunk = loop.chunk
        self._loop, self._sampling, self._done = loop, sampling, 0
        self._carried = Carried(ops.convert_to_tensor(memory.frames[:, -1], "float32"), memory.states)

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W), `steps` at most `chunk`."""
        clips = range(self._carried.frame.shape[0])
        noise = self._sampling.noise(clips, self._done, steps, self._loop.step.draws)
        frames, self._carried = self._loop.run(steps, self._carried, noise, self._sampling.temperature)
        self._done += steps
        return frames


class RefedPast:
    """The past fed again at each step, whole or the last `window` frames: the cost of a step grows with it.

    Sequences are padded on the right to a power of two, so that few lengths are compiled; the predictions of a network
    that reads only the past do not depend on the padding.

    Args:
        forward: A compiled (B, T, W) -> (B, T, O).
        head: Turns outputs into frames.
        clips: The numbers of the clips, which decide their draws.
        seeds: Normalized frames (T, W) of each clip, all of one length.
        window: How many frames are fed, or `None` for all.
        sampling: How frames are drawn.
    """

    chunk = 16

    def __init__(
        self,
        forward: Forward,
        head: Head,
        clips: Sequence[int],
        seeds: Sequence[np.ndarray],
        window: int | None,
        sampling: Sampling,
    ):
        self._forward, self._head, self._clips = forward, head, clips
        self._past, self._window, self._sampling = np.stack(seeds), window, sampling
        self._done = 0

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W)."""
        draws = self._head.draws(self._past.shape[-1])
        noise = self._sampling.noise(self._clips, self._done, steps, draws)
        temperature = ops.convert_to_tensor(self._sampling.temperature, "float32")
        frames = []
        for index in range(steps):
            past = self._past if self._window is None else self._past[:, -self._window :]
            length = past.shape[1]
            padded = np.pad(past, ((0, 0), (0, _power_of_two(length) - length), (0, 0)))
            output = self._forward(padded)[:, length - 1]
            drawn = ops.convert_to_tensor(noise[:, index])
            frame = ops.convert_to_numpy(self._head.next_frame(output, drawn, temperature))[:, None]
            self._past = np.concatenate([past, frame], axis=1)
            frames.append(frame)
        self._done += steps
        return np.concatenate(frames, axis=1)


def predicted(pasts: Sequence[Past], order: Sequence[int], steps: int | None, chunk: int) -> Iterator[np.ndarray]:
    """Yields normalized frames (clips, T, W), at most `chunk` at a time: `steps` in all, or without end.

    Args:
        pasts: Groups of clips.
        order: The place of each clip among those of all groups, one group after the other.
        steps: Frames of the song, or `None`.
        chunk: Frames in a piece, at most.
    """
    done = 0
    chunk = min(chunk, *(past.chunk for past in pasts))
    while steps is None or done < steps:
        count = chunk if steps is None else min(chunk, steps - done)
        taken = [past.take(count) for past in pasts]
        yield taken[0] if len(taken) == 1 else np.concatenate(taken)[order]
        done += count


def memory_fits(memory: Memory, step_states: list[Tensor], width: int) -> bool:
    """Whether a memory has the frames and states of a network with these initial states (of one clip)."""
    shapes = [tuple(state.shape[1:]) for state in memory.states]
    return memory.frames.shape[-1] == width and shapes == [tuple(state.shape[1:]) for state in step_states]


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()
