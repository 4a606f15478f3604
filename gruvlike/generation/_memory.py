"""The past of a song: as states, which a step carries on, or as frames, which are fed again at each step."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, Self

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._contracts import Temperature, Tensor
from gruvlike._step._forward import Forward
from gruvlike._step._loops import Loop
from gruvlike._step._step import Carried, Pull, bounded, uniform_noise
from gruvlike.conditions import Condition, Meter
from gruvlike.conditions._frames import Frames, known, numbers_at
from gruvlike.conditions._style import StylePath, Styling
from gruvlike.generation._guard import Usual, fault, weighted
from gruvlike.heads import Head

# Clips whose numbers are drawn again get those of clips beyond all others, and so do other choices.
_ATTEMPT, _CHOICE = 2**20, 2**24
_BAR = 4  # beats
_GOLDEN = (5**0.5 - 1) / 2
_WATCHED = 64  # frames: enough to tell a frozen song from a held note


class Memory(NamedTuple):
    """All that a generator knows after a seed: any song goes on from here. `Generator.listen` makes it.

    Attributes:
        frames: The last normalized frames, (B, T, W): one to read next, and all that sound on into the song.
        states: The states of the recurrent layers before the last of these frames, (B, units) each.
        samples: The sound under these frames, float32 (B, S).
        usual: The mean, the change and the size of the seed's frames: a leash and the guards of a song compare with it.
        past: The last frames of each seed, (R, W): as many as conditions of the network reach back to.
        meters: The beat of each seed, counted from the first frame of the song; empty where the network reads no beat.
        network: A checksum of the weights of the network that listened.
    """

    frames: np.ndarray
    states: list[Tensor]
    samples: np.ndarray
    usual: Usual
    past: list[np.ndarray]
    meters: list[Meter]
    network: str = ""

    def repeat(self, clips: int) -> "Memory":
        """Returns the memory of `clips` clips that all begin as this one clip.

        Raises:
            ValueError: If this is a memory of several clips already.

        Example:
            >>> usual = Usual.of([np.zeros((2, 4))])
            >>> memory = Memory(np.zeros((1, 1, 4)), [np.zeros((1, 3))], np.zeros((1, 8)), usual, [], [])
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
        return self.each(clips)

    def each(self, times: int) -> "Memory":
        """Returns the memory of `times` clips for each of these: those of the first one, then those of the next.

        Example:
            >>> usual = Usual.of([np.zeros((2, 4))] * 2)
            >>> memory = Memory(np.zeros((2, 1, 4)), [], np.zeros((2, 8)), usual, [], [])
            >>> memory.each(3).frames.shape
            (6, 1, 4)
        """
        states = [ops.repeat(state, times, axis=0) for state in self.states]
        frames, samples = (np.repeat(one, times, axis=0) for one in (self.frames, self.samples))
        past = [one for one in self.past for _ in range(times)]
        meters = [one for one in self.meters for _ in range(times)]
        return Memory(frames, states, samples, self.usual.repeat(times), past, meters, self.network)

    def mix(self, other: "Memory", weight: float) -> "Memory":
        """Returns a memory between this one and another of the same network: states, last frames and beat are mixed.

        A song that goes on from it begins between the two seeds. How long the mix lasts depends on the network: one
        without conditions forgets it as it forgets its seed. `Generator.morph` mixes for as long as the song runs.

        Args:
            other: Another memory, of as many clips.
            weight: Share of the other, in [0, 1]. With 0 the songs are those of this memory, with 1 those of the other,
                to the last bit.

        Raises:
            ValueError: If the memories are of several networks or unlike numbers of clips, or the weight is out of
                range.
            TypeError: If `other` is no memory.

        Example:
            >>> import gruvlike as gl
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> first, second = (generator.listen(np.full(40, level, "float32")) for level in (0.1, 0.3))
            >>> first.mix(second, weight=0.25).frames.round(2)[0, 0]
            array([0.15, 0.15, 0.15, 0.15], dtype=float32)
        """
        weight = _checks.number("weight", weight, 0, 1)
        return mixed([self, other], [1 - weight, weight])


def mixed(memories: Sequence[Memory], weights: Sequence[float]) -> Memory:
    """Returns the weighted mean of memories; the weights sum to 1.

    The frames that conditions reach back to are taken from one seed for a beat, from another for the next, each as
    often as its weight says, and at the same place in the bar.

    Raises:
        ValueError: If the memories are of several networks, or of unlike numbers of clips.
        TypeError: If one is no memory.
    """
    _check_alike(memories)
    first = memories[0]
    meters = [Meter.mix(several, weights) for several in zip(*(one.meters for one in memories), strict=True)]
    past = [
        _past_between([one.past[clip] for one in memories], [one.meters[clip] for one in memories], meter, weights)
        for clip, meter in enumerate(meters)
    ]
    return Memory(
        weighted([one.frames for one in memories], weights),
        [weighted(several, weights) for several in zip(*(one.states for one in memories), strict=True)],
        weighted([one.samples for one in memories], weights),
        Usual.mix([one.usual for one in memories], weights),
        past,
        meters,
        first.network,
    )


def _past_between(
    pasts: Sequence[np.ndarray], meters: Sequence[Meter], meter: Meter, weights: Sequence[float]
) -> np.ndarray:
    """Returns the last frames of seeds, (R, W) each, in turns of a beat of `meter`, each by its weight.

    Their mean would be no music: of two rhythms it has both, of two spectra none.
    """
    longest = max(map(len, pasts))
    if not longest:
        return pasts[0]
    numbers = np.arange(-longest, 0)
    found = []
    for past, own in zip(pasts, meters, strict=True):
        places = np.round((numbers / meter.period + _beats_apart(own, meter)) * own.period).astype(int)
        bar = round(_BAR * own.period)
        places = np.where(places > 0, places - bar, np.where(places < -len(past), places + bar, places))
        found.append(past[np.clip(places, -len(past), -1)])
    turns = turns_of(weights, np.floor(numbers / meter.period))
    return np.stack(found)[turns, np.arange(longest)]


def _beats_apart(own: Meter, meter: Meter) -> float:
    """Returns how many beats later in the bar, from -2 to 2, a song of `meter` begins; 0 where there is no bar."""
    apart = (meter.first - own.first + _BAR / 2) % _BAR - _BAR / 2
    return 0.0 if np.isnan(apart) else apart


def turns_of(weights: Sequence[float], beats: np.ndarray) -> np.ndarray:
    """Returns which of several is chosen at each beat, so that each has its share of any run of beats.

    As the weight of the second of two rises, it is chosen at the beats where it was before, and at more.

    Example:
        >>> turns_of([0.75, 0.25], np.arange(8)).tolist()
        [0, 1, 0, 0, 1, 0, 0, 0]

    References:
        H. Weyl, "Über die Gleichverteilung von Zahlen mod. Eins", 1916 (multiples of an irrational number).
    """
    places = np.mod((beats + 0.5) * _GOLDEN, 1)
    return np.minimum(np.searchsorted(np.cumsum(weights), places, side="right"), len(weights) - 1)


def _check_alike(memories: Sequence[Memory]) -> None:
    for one in memories:
        if not isinstance(one, Memory):
            raise TypeError(
                f"A memory is mixed with a memory. Received: {type(one).__name__}. Let the generator `listen` to the "
                "seed."
            )
    first, *others = memories
    for other in others:
        if other.network != first.network or [s.shape for s in other.states] != [s.shape for s in first.states]:
            raise ValueError(
                "Memories that are mixed must be of one network, and of as many clips. Received: memories of "
                f"{len(first.frames)} and {len(other.frames)} clips, with checksums {first.network!r} and "
                f"{other.network!r} of the network. Let one generator `listen` to both seeds."
            )


class Sampling(NamedTuple):
    """How frames are drawn.

    Attributes:
        temperature: At least 0; or a function that returns it, which is asked before each piece.
        random_seed: Decides all draws.
        leash: How strongly the running mean and deviation of the frames are drawn to those of the seed; 0 for none.
        take: The number of the first clip; the next clips have the next numbers.
        choices: How often each moment of a song is drawn, of which one is chosen.
    """

    temperature: Temperature
    random_seed: int
    leash: float = 0.0
    take: int = 0
    choices: int = 1

    def checked(self) -> Self:
        """Returns this, or raises if the temperature is out of its range."""
        self.temperature_now()
        return self

    def temperature_now(self) -> float:
        """Returns the temperature of the next piece."""
        return _checks.number("temperature", self.temperature() if callable(self.temperature) else self.temperature, 0)

    def noise(
        self, clips: Sequence[int], first: int, steps: int, draws: int, attempts: Sequence[int] | None = None
    ) -> np.ndarray:
        """Returns the uniform numbers (clips, steps, draws) of steps from `first` on; each attempt has others."""
        if not draws:
            return np.zeros((len(clips), steps, 0), np.float32)
        pairs = zip(clips, attempts or [0] * len(clips), strict=True)
        keys = [self.take + clip + attempt * _ATTEMPT for clip, attempt in pairs]
        return np.stack([uniform_noise(self.random_seed, key, first, steps, draws) for key in keys])


class Wish(NamedTuple):
    """The wishes for a song.

    Attributes:
        size: Samples; `None`: it never ends.
        history: As for `Generator.extend`.
        include_seed: Whether the seed is put before it.
        sampling: How frames are drawn.
        frames_at_once: Frames in a piece of a stream; `None`: the song in one go.
        style: As for `Generator.stream`.
    """

    size: int | None
    history: str | int
    include_seed: bool
    sampling: Sampling
    frames_at_once: int | None = None
    style: Styling | None = None


class Past(Protocol):
    """Predicts a song, some frames at a time."""

    chunk: int  # one call can take at most so many frames

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W)."""


class CarriedPast:
    """The whole past in the states: constant cost a step.

    A song that is drawn and freezes, falls silent or blows up is drawn again from an earlier memory: first from the one
    before these frames, then from that of the seed. A warning says so.

    Args:
        loop: The compiled loop, for as many clips as the memory has.
        memory: Where the song begins.
        sampling: How frames are drawn. With several choices the memory has so many clips for each clip of the song.
        conditions: Inputs of the network besides the last frame.
    """

    def __init__(
        self, loop: Loop, memory: Memory, sampling: Sampling, conditions: Sequence[Condition | StylePath] = ()
    ):
        self.chunk = loop.chunk
        self._loop, self._sampling, self._done = loop, sampling, 0
        self._conditions, self._meters, self._usual = conditions, memory.meters, memory.usual
        self._frames = [Frames(past) for past in memory.past]
        mean, deviation = (ops.convert_to_tensor(one, "float32") for one in memory.usual[:2])
        states = memory.states if loop.step.leash_frames is None else [*memory.states, mean, deviation * deviation]
        self._carried = Carried(ops.convert_to_tensor(memory.frames[:, -1], "float32"), states)
        self._opening = self._carried
        self._pull = Pull(float(sampling.leash), mean, deviation)
        self._clips = len(memory.frames)
        several = sampling.choices
        self._numbers = [clip // several + clip % several * _CHOICE for clip in range(self._clips)]
        # A song that is not drawn would be the same again, so its frames are not kept to be watched.
        self._watched = bool(loop.step.draws and sampling.temperature)
        self._recent = memory.frames[:, :0]

    @property
    def carried(self) -> Carried:
        """The frame to read next, and the states before it."""
        return self._carried

    def steer(self, memory: Memory) -> None:
        """Lets the song go on as one of another memory: its seed, its beat, and the mean of its leash change."""
        self._meters, self._usual = memory.meters, memory.usual
        for frames, past in zip(self._frames, memory.past, strict=True):
            frames.reseed(past)
        mean, deviation = (ops.convert_to_tensor(one, "float32") for one in memory.usual[:2])
        self._pull = self._pull._replace(mean=mean, deviation=deviation)

    def draw_to(self, target: Carried, share: float) -> None:
        """Moves the last frame and the states by a share of their distance to those of another song."""

        def moved(own: Tensor, other: Tensor) -> Tensor:
            return own + share * (other - own)  # nothing changes where the two are equal

        self._carried = Carried(*keras.tree.map_structure(moved, tuple(self._carried), tuple(target)))

    def keep(self, rows: Sequence[int]) -> None:
        """Lets the songs go on from those of other clips: song number k from that of clip `rows[k]`."""

        def chosen(one: Tensor) -> Tensor:
            # The host chooses: on JAX an operation outside of the program would be compiled.
            return ops.convert_to_tensor(ops.convert_to_numpy(one)[list(rows)])

        self._carried = Carried(*keras.tree.map_structure(chosen, tuple(self._carried)))
        self._recent = self._recent[list(rows)]
        self._frames = [copy.deepcopy(self._frames[row]) for row in rows] if self._frames else []

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W), `steps` at most `chunk`."""
        attempts = [0] * self._clips
        if not self._watched:
            return self._sing(steps, attempts)
        before = self._carried, copy.deepcopy(self._frames), self._done
        sung = self._sing(steps, attempts)
        for attempt in (1, 2):
            faults = self._faults(sung)
            if not any(faults):
                break
            self._carried, self._frames, self._done = before[0], copy.deepcopy(before[1]), before[2]
            for clip, found in enumerate(faults):
                if found:
                    attempts[clip] = attempt
                    self._warn(clip, found, attempt)
            if attempt == 2:
                self._carried = _with_rows(self._carried, self._opening, [bool(found) for found in faults])
            sung = self._sing(steps, attempts)
        self._recent = np.concatenate([self._recent, sung], axis=1)[:, -_WATCHED:]
        return sung

    def _faults(self, sung: np.ndarray) -> list[str | None]:
        """Returns the fault of each clip, once there are enough frames to tell."""
        recent = np.concatenate([self._recent, sung], axis=1)[:, -max(_WATCHED, sung.shape[1]) :]
        if recent.shape[1] < _WATCHED:
            return [None] * len(recent)
        pairs = zip(recent, self._usual.flux, self._usual.size, strict=True)
        return [fault(frames, flux, size) for frames, flux, size in pairs]

    def _warn(self, clip: int, found: str, attempt: int) -> None:
        number = clip // self._sampling.choices
        warnings.warn(
            f"The song of clip {number} had {found} by frame {self._done + self._recent.shape[1]}: it is drawn again "
            f"from {'a moment before' if attempt == 1 else 'the memory of its seed'}.",
            RuntimeWarning,
            stacklevel=2,
        )

    def _sing(self, steps: int, attempts: Sequence[int]) -> np.ndarray:
        found, left = [], steps
        while left:  # lagged frames must have been sung before they can be read
            count = min([left, *(known(self._conditions, meter, self._done, left) for meter in self._meters)])
            found.append(self._run(count, attempts))
            left -= count
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def _run(self, steps: int, attempts: Sequence[int]) -> np.ndarray:
        noise = self._sampling.noise(self._numbers, self._done, steps, self._loop.step.draws, attempts)
        to_come = np.arange(self._done, self._done + steps)
        given = [
            numbers_at(self._conditions, meter, frames, to_come)
            for meter, frames in zip(self._meters, self._frames, strict=True)
        ]
        numbers = {name: np.stack([one[name] for one in given]) for name in (given[0] if given else ())}
        temperature = self._sampling.temperature_now()
        sung, self._carried = self._loop.run(steps, self._carried, noise, temperature, numbers, self._pull)
        for frames, clip in zip(self._frames, sung, strict=False):
            frames.append(clip)
        self._done += steps
        return sung


def _with_rows(carried: Carried, other: Carried, chosen: Sequence[bool]) -> Carried:
    """Returns the frames and states to carry, with the rows of some clips taken from another moment."""

    def mixed(one: Tensor, two: Tensor) -> Tensor:
        rows = np.array(chosen).reshape(-1, *[1] * (len(one.shape) - 1))
        return ops.where(rows, two, one)

    return Carried(*keras.tree.map_structure(mixed, tuple(carried), tuple(other)))


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
        bounds: Least and greatest value of each number, (W,) each: frames beyond are clipped.
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
        bounds: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        self._bounds = bounds
        self._forward, self._head, self._clips = forward, head, clips
        self._past, self._window, self._sampling = np.stack(seeds), window, sampling
        self._done = 0

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, W)."""
        draws = self._head.draws(self._past.shape[-1])
        noise = self._sampling.noise(self._clips, self._done, steps, draws)
        temperature = ops.convert_to_tensor(self._sampling.temperature_now(), "float32")
        frames = []
        for index in range(steps):
            past = self._past if self._window is None else self._past[:, -self._window :]
            length = past.shape[1]
            padded = np.pad(past, ((0, 0), (0, _power_of_two(length) - length), (0, 0)))
            output = self._forward(padded)[:, length - 1]
            drawn = ops.convert_to_tensor(noise[:, index])
            drawn_frame = bounded(self._head.next_frame(output, drawn, temperature), self._bounds)
            frame = ops.convert_to_numpy(drawn_frame)[:, None]
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


def memory_fits(memory: Memory, step_states: list[Tensor], width: int, conditioned: bool, network: str) -> bool:
    """Whether a memory has the frames and states of a network with these initial states (of one clip), and its sum."""
    shapes = [tuple(state.shape[1:]) for state in memory.states]
    return (
        memory.network == network
        and bool(memory.meters) == conditioned
        and memory.frames.shape[-1] == width
        and shapes == [tuple(state.shape[1:]) for state in step_states]
    )


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()
