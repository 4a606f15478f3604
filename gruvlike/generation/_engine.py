"""The network of a generator, ready to sing: its weights as steps read them, and its loops, each compiled once."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Tensor
from gruvlike._step._stateless import keep_frames, refuse_backwards
from gruvlike.conditions import Condition, Style, conditions_of
from gruvlike.conditions._frames import Frames, numbers_at, reach
from gruvlike.conditions._style import StylePath, Styling
from gruvlike.encoders import Encoder
from gruvlike.generation._chosen import MOMENT_SECONDS, ChosenPast
from gruvlike.generation._guard import Usual
from gruvlike.generation._memory import CarriedPast, Memory, Past, RefedPast, Wish, memory_fits
from gruvlike.generation._morph import MorphedPast, Path
from gruvlike.generation._opening import Opening, SoundParts
from gruvlike.generation._programs import Programs
from gruvlike.heads import Head
from gruvlike.models._checking import build_stack, check_fitted

_SAMPLED = 64  # numbers of each weight, about, that make its checksum


class Network:
    """A stack with its head, which reads openings and predicts the frames of songs.

    Args:
        stack: A Keras model (B, T, W) -> (B, T, O).
        head: The meaning of its outputs.
        parts: The parts between samples and frames.
        dtype: As for `Generator`.
        torch_compile: As for `Generator`.

    Attributes:
        head, parts: As given.
        conditions: Inputs of the stack besides the last frame.
        draws: Whether the head draws frames at random.

    Raises:
        ValueError: If the head wants other outputs, or the stack reads the future.
    """

    def __init__(self, stack: keras.Model, head: Head, parts: SoundParts, dtype: str | None, torch_compile: bool):
        self._keras_stack, self.head, self.parts, self._dtype = stack, head, parts, dtype
        refuse_backwards(stack)
        build_stack(stack, parts.width)
        _check_outputs(stack, head, parts.width)
        keep_frames(stack)
        if parts.normalizer is not None:
            check_fitted(parts.normalizer)
        self.conditions = conditions_of(stack)
        self.draws = head.draws(parts.width) > 0
        self._programs = Programs(stack, head, parts, dtype, torch_compile)

    def begin(self, opening: Opening, wish: Wish) -> tuple[list[Past], list[int], Memory]:
        """Reads the openings of all clips.

        Returns:
            The pasts that predict groups of clips, the place of each clip among those of all groups, and the memory.
        """
        if wish.history == "carry":
            memory = self.remember(opening, wish.style, wish.frames_at_once)
            return *self.go_on(memory, wish), memory
        window = self._window(wish)
        forward = self._programs.forward()
        groups = _alike(opening.frames)
        pasts: list[Past] = [
            RefedPast(
                *(forward, self.head, clips, [opening.frames[clip] for clip in clips], window, wish.sampling),
                bounds=self.parts.bounds,
            )
            for clips in groups
        ]
        order = np.argsort([clip for clips in groups for clip in clips]).tolist()
        return pasts, order, self._tail(opening, [])

    def go_on(self, memory: Memory, wish: Wish) -> tuple[list[Past], list[int]]:
        """Returns the pasts and places, as `begin` does, of songs that go on from a memory."""
        clips, choices = len(memory.frames), wish.sampling.choices
        rows = memory if choices == 1 else memory.each(choices)
        loop = self._programs.loop(len(rows.frames), wish.frames_at_once, leashed=wish.sampling.leash > 0)
        past: Past = (song := CarriedPast(loop, rows, wish.sampling, self._styled(wish.style)))
        if choices > 1:
            loop.step.stack.refresh()  # it may be laid out for more clips than the one that has listened
            moment = max(1, round(MOMENT_SECONDS * self.parts.sample_rate / self.parts.encoder.hop))
            past = ChosenPast(song, memory.usual, memory.meters, choices, moment)
        return [past], list(range(clips))

    def morph(self, memories: Sequence[Memory], path: Path, wish: Wish) -> MorphedPast:
        """Returns the past of a song that moves along a path from memory to memory, of one clip each."""
        for memory in memories:
            self.check_memory(memory, wish, None)
            if len(memory.frames) != 1:
                raise ValueError(
                    f"A song morphs from one clip to the next. Received: a memory of {len(memory.frames)}."
                )
        self.refresh(1)
        loop = self._programs.loop(1, None, leashed=wish.sampling.leash > 0)
        return MorphedPast(loop, memories, path, wish.sampling, self._styled(wish.style))

    def listen(self, opening: Opening, style: Styling | None = None) -> Memory:
        """Returns the memory of the seeds, with a checksum of the weights: songs may go on from it later."""
        return self.remember(opening, style)._replace(network=self._checksum())

    def remember(self, opening: Opening, style: Styling | None = None, chunk: int | None = None) -> Memory:
        """Reads the frames of the seeds but the last, which the first step of the song reads.

        Conditions may read frames before them, so the first ones that are read have a past, too.
        """
        loop = self._programs.loop(len(opening.frames), chunk)
        loop.step.stack.refresh()
        memory, conditions = self._tail(opening, []), self._styled(style)
        seeds, given = [], []
        for clip, frames in enumerate(opening.frames):
            first = max(0, len(memory.past[clip]) - 1) if memory.past else 0
            seeds.append(frames[first:-1])
            if conditions:
                to_come = np.arange(first + 1, len(frames)) - len(frames)
                given.append(numbers_at(conditions, opening.meters[clip], Frames(frames), to_come))
        return memory._replace(states=loop.read(seeds, loop.start(), given or None).states)

    def _styled(self, style: Styling | None) -> list[Condition | StylePath]:
        """Returns the conditions of a song, which a style stands among as the path of that song.

        Raises:
            ValueError: If a style is asked for, and the network reads none, or several; or as `Style.along`.
        """
        styles = [one for one in self.conditions if isinstance(one, Style)]
        if style is not None and len(styles) != 1:
            raise ValueError(
                f"`style` is for a network that reads one style. Received: style={style!r}, for one that reads "
                f"{len(styles)}. Leave it out, or train a network with a style (`--style folder`)."
            )
        frame_rate = self.parts.sample_rate / self.parts.encoder.hop
        return [one.along(style, frame_rate) if isinstance(one, Style) else one for one in self.conditions]

    def _tail(self, opening: Opening, states: list[Tensor]) -> Memory:
        tail = self.parts.tail
        frames = np.stack([one[-tail:] for one in opening.frames])
        samples = np.stack([one[-self.parts.encoder.span(tail) :] for one in opening.samples])
        reaches = [reach(self.conditions, meter) for meter in opening.meters]
        past = [one[len(one) - back :] for one, back in zip(opening.frames, reaches, strict=False)]
        return Memory(frames, states, samples, Usual.of(opening.frames, opening.meters), past, opening.meters)

    def check_memory(self, memory: Memory, wish: Wish, bpm: float | None) -> None:
        """Raises if a song of this network cannot go on from a memory; else takes over newer weights."""
        if wish.history != "carry" or wish.include_seed or bpm is not None:
            raise ValueError(
                'A memory goes on by `history="carry"`, holds no seed to include, and knows its beat. Received: '
                f"history={wish.history!r}, include_seed={wish.include_seed}, bpm={bpm}. Give the seed itself."
            )
        stack = self._programs.stack(len(memory.frames))
        shape = stack.initial_states(1), self.parts.width, bool(self.conditions)
        if not memory_fits(memory, *shape, self._checksum()):
            raise ValueError(
                "A memory belongs to the network that listened. Received: frames of "
                f"{memory.frames.shape[-1]} numbers and states {[tuple(s.shape) for s in memory.states]}, of another "
                "network, or of this one before it was trained on. Let this generator `listen` to the seed."
            )

    def _checksum(self) -> str:
        """Returns a checksum of some numbers of each weight: training changes all of them."""
        found = 0
        for weight in self._keras_stack.weights:
            numbers = keras.ops.convert_to_numpy(weight).ravel()
            found = zlib.crc32(numbers[:: max(1, len(numbers) // _SAMPLED)].tobytes(), found)
        return f"{found:08x}"

    def refresh(self, clips: int) -> None:
        """Takes over weights that were trained since."""
        self._programs.stack(clips).refresh()

    def finite(self, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields pieces of frames, and raises at the first one that is not finite."""
        done = 0
        for piece in pieces:
            if not np.isfinite(piece).all():
                raise ValueError(
                    f"The network must predict finite frames. Received: NaN or infinity within frames {done} to "
                    f"{done + piece.shape[1]} of the song. {self._why_not_finite()}"
                )
            yield piece
            done += piece.shape[1]

    def _why_not_finite(self) -> str:
        if self._dtype == "float16":
            return "Weights above 65504 are infinite in float16: use bfloat16, or leave `dtype` out."
        return "Its training has diverged: go back to an earlier model."

    def _window(self, wish: Wish) -> int | None:
        """Returns how many frames are fed again, `None` for all."""
        history = wish.history
        sampling = wish.sampling
        if self.conditions or sampling.leash or sampling.choices > 1:
            others = "leash" if sampling.leash else "choices"
            names = ", ".join(one.name for one in self.conditions) or others
            raise ValueError(
                f'{names}: only for `history="carry"`. Received: history={history!r}. Leave `history` out.'
            )
        if self._dtype is not None:
            raise ValueError(
                'Weights in half precision are for `history="carry"`. '
                f"Received: dtype={self._dtype!r}, history={history!r}. Use a Generator without `dtype`."
            )
        if history == "full":
            return None
        if isinstance(history, str):
            _checks.choice("history", history, ("carry", "full"))
        return _checks.positive_int("history", history)


def refuse_parts(given: Mapping[str, object]) -> None:
    """Raises if there are parts beside an `AudioModel`, which brings its own."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise ValueError(
            "An AudioModel brings its own encoder, normalizer, head and rates. "
            f"Received: {', '.join(names)} beside it. Leave them out, or give `model.stack`."
        )


def incomplete(model: object, encoder: Encoder | None, sample_rate: int | None) -> Exception:
    """Returns the error for a model without the parts that it needs."""
    if not isinstance(model, keras.Model):
        return TypeError(
            "`model` must be an AudioModel, the path of a saved one, or a Keras model. "
            f"Received: {type(model).__name__}."
        )
    missing = [name for name, value in (("encoder", encoder), ("sample_rate", sample_rate)) if value is None]
    return ValueError(
        "A Keras model needs `encoder=` and `sample_rate=` beside it (and `normalizer=`, if it was trained on "
        f"normalized frames). Received: no {' and no '.join(missing)}."
    )


def _alike(frames: list[np.ndarray]) -> list[list[int]]:
    """Returns groups of clips whose seeds have one length: a batch that is fed again has one length."""
    groups: dict[int, list[int]] = {}
    for clip, one in enumerate(frames):
        groups.setdefault(len(one), []).append(clip)
    return list(groups.values())


def _check_outputs(stack: keras.Model, head: Head, width: int) -> None:
    shape: Any = getattr(stack, "output_shape", None)
    if shape is not None and shape[-1] != head.outputs(width):
        raise ValueError(
            f"The network must give the {head.outputs(width)} numbers that its {type(head).__name__} head wants for "
            f"frames of {width} numbers. Received: {shape}."
        )
