"""Continue a seed: the one entry point to generation."""

import os
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Tensor
from gruvlike._step._loops import Loop
from gruvlike._step._stateless import keep_frames, refuse_backwards
from gruvlike.conditions import conditions_of
from gruvlike.conditions._frames import Frames, numbers_at, reach
from gruvlike.decoders import Decoder
from gruvlike.encoders import Encoder
from gruvlike.generation._guard import Usual
from gruvlike.generation._joining import Coming, frames_for, joined, leveled
from gruvlike.generation._memory import CarriedPast, Memory, Past, RefedPast, Sampling, Wish, memory_fits, predicted
from gruvlike.generation._opening import (
    Listening,
    Opening,
    Seed,
    SoundParts,
    check_equal_lengths,
    enough_seconds,
    read_opening,
)
from gruvlike.generation._programs import Programs
from gruvlike.heads import Head, Point
from gruvlike.models import AudioModel, load
from gruvlike.models._checking import build_stack, check_fitted
from gruvlike.normalizers import Normalizer

_FRAMES_AT_ONCE = 4  # a stream has a latency of a few frames
_LEASH = 0.6  # a network with conditions has this leash


class Generator:
    """Continues a seed, frame by frame, with a network that predicts the next frame.

    Args:
        model: A `gruvlike.AudioModel`, the path of a saved one, or any Keras model (B, T, W) -> (B, T, O) that
            predicts the next normalized frame at every step; then `encoder`, `normalizer`, `head` and `sample_rate`
            give its frames and outputs their meaning.
        encoder: Samples <-> frames. Only beside a Keras model of your own, as the next four.
        normalizer: Scales frames; `None` there means that the network works on plain frames.
        sample_rate: In Hz.
        high_pass_hz: The high-pass filter that the music went through; seeds given as paths get the same.
        dtype: `"bfloat16"` or `"float16"`: the matrices of LSTM, GRU and Dense layers are read in that type, as copies
            made at the start of each song. States and sums stay float32. It halves the bytes that a step reads, for
            GPUs; on a CPU it gains nothing (docs/speed.md has the figures, and the effect on the sound). `None`: as
            they are.
        torch_compile: On torch: compile the step by `torch.compile`, in the first song of each number of clips. That
            takes seconds to minutes, which only very long songs win back, and needs a C++ compiler; where it fails, a
            warning says so and the song goes on without. TensorFlow and JAX always compile.
        head: The meaning of the network's outputs; `None`: `heads.Point()`, the next frame itself.
        decoder: Frames -> sound; `None`: the encoder's own, `encoder.decoder()`. May stand beside an `AudioModel`.

    Attributes:
        stack, encoder, normalizer, head, sample_rate, high_pass_hz: As given, or those of the model.
        decoder, dtype, torch_compile: As given.

    Raises:
        ValueError: If parts are missing or do not fit, or the network reads the future.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> stack = gl.recurrent_stack(encoder.features, units=(4,), random_seed=0)
        >>> generator = gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)
        >>> generator.extend(music[:100], steps=5).shape
        (40,)
    """

    def __init__(
        self,
        model: AudioModel | keras.Model | str | os.PathLike,
        encoder: Encoder | None = None,
        normalizer: Normalizer | None = None,
        sample_rate: int | None = None,
        high_pass_hz: float | None = None,
        dtype: str | None = None,
        torch_compile: bool = False,
        head: Head | None = None,
        decoder: Decoder | None = None,
    ):
        self.dtype = None if dtype is None else _checks.choice("dtype", dtype, ("bfloat16", "float16"))
        self.torch_compile = torch_compile
        if isinstance(model, str | os.PathLike):
            model = load(model)
        if isinstance(model, AudioModel):
            own = {"encoder": encoder, "normalizer": normalizer, "head": head}
            _refuse_parts({**own, "sample_rate": sample_rate, "high_pass_hz": high_pass_hz})
            encoder, normalizer, head = model.encoder, model.normalizer, model.head
            sample_rate, high_pass_hz = model.sample_rate, model.high_pass_hz
        self.stack = model.stack if isinstance(model, AudioModel) else model
        if encoder is None or sample_rate is None or not isinstance(self.stack, keras.Model):
            raise _incomplete(self.stack, encoder, sample_rate)
        self.encoder, self.normalizer, self.high_pass_hz = encoder, normalizer, high_pass_hz
        self.head = Point() if head is None else head
        self.decoder = encoder.decoder() if decoder is None else decoder
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self._parts = SoundParts(encoder, normalizer, self.decoder, self.sample_rate, high_pass_hz)
        refuse_backwards(self.stack)
        build_stack(self.stack, self._parts.width)
        _check_outputs(self.stack, self.head, self._parts.width)
        keep_frames(self.stack)
        if normalizer is not None:
            check_fitted(normalizer)
        self._conditions = conditions_of(self.stack)
        self._programs = Programs(self.stack, self.head, self._parts, self.dtype, torch_compile)

    @property
    def seed_seconds(self) -> float:
        """Length of a seed that is enough for the network: it reads back so far at the slowest tempo that is found.

        A slower one that is given by hand, `bpm=`, needs more.

        Example:
            >>> import gruvlike as gl
            >>> stack = gl.recurrent_stack(4, units=(3,), lags=gl.Lags(beats=(1, 4)))
            >>> round(gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000).seed_seconds, 2)
            2.82
        """
        return enough_seconds(self._parts, self._conditions)

    def extend(
        self,
        seed: Seed | Sequence[Seed] | Memory,
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
        temperature: float | None = None,
        random_seed: int | None = None,
        leash: float | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
        match_level: bool = False,
    ) -> np.ndarray:
        """Returns the sound that follows a seed.

        Args:
            seed: Samples (S,) at the generator's rate, or the path of a sound file (read, resampled, filtered like
                the corpus); or a list of those, a clip each. It is aligned at its end: leading samples that fill no
                frame are dropped. Or a `Memory` that `listen` gave.
            seconds: Length of the song; or
            steps: The same in frames.
            history: How much of the past the network knows: `"carry"`, all of it, in its states, at constant cost;
                `"full"`, all of it, fed again at each step, as the paper did (the same song, slowly); or an integer
                k, the last k frames.
            include_seed: Whether the seed is put before the song, joined by the overlap of the encoder.
            clips: How many songs. A network that draws nothing at random gives the same song for the same seed: give
                a seed for each.
            temperature: Of a head that draws: 1 as it was learned, less is more likely and less varied. `None`: that of
                the head, 1 unless it was made with another.
            random_seed: Of a head that draws; 0 by default. Each clip and each step draws numbers of its own: a clip
                is the same alone or beside others.
            leash: Keeps the song near the sound of its seed, in [0, 1]: mean and deviation of its last two seconds are
                drawn to the seed's, each frame by this share of the distance. 0 leaves it free. `None`: 0.6 for a
                network with conditions (a clock, lags, an anchor), else 0.
            bpm: Beats a minute of the seed, for a network that reads the beat; `None`: found by `rhythm.tempo`.
            pad_seed: Whether silence is put before a seed that is shorter than the network reads back.
            match_level: Whether each song is brought to the loudness of its seed by one gain, as `audio.match_level`
                does, which fades in over the first 10 ms so that the song still joins its seed. Not for a `Memory`,
                which does not hold the whole seed.

        Returns:
            Float32 samples: (S,) for one seed and `clips=1`, else (clips, S). The song starts with the sample after
            the seed and has exactly `round(seconds * sample_rate)` or `steps * hop` samples.

        Raises:
            ValueError: If the seed is shorter than the network needs, not finite or not one-dimensional, an argument is
                out of range or of no effect, the state of a layer cannot be carried, or the network predicts NaN.
            FileNotFoundError: If a seed is a path without a file.

        Warns:
            RuntimeWarning: If a drawn song has frozen, fallen silent or blown up. It is drawn again, with other
                numbers.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> encoder = gl.TimeBlocks(4)
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=encoder, sample_rate=8000)
            >>> seed = np.sin(np.arange(80) / 9).astype("float32")
            >>> generator.extend(seed, seconds=0.01).shape, generator.extend([seed, seed[40:]], steps=3).shape
            ((80,), (2, 12))
        """
        from tqdm import tqdm

        size = self._size(seconds, steps)
        if size is None:
            raise ValueError(
                "`extend` needs the length of the song. Received: neither `seconds` nor `steps`. Give one."
            )
        if match_level and isinstance(seed, Memory):
            raise ValueError(
                "`match_level` needs the seed. Received: a memory, which does not hold the whole seed. Give the seed, "
                "or use `gruvlike.audio.match_level`."
            )
        wish = Wish(size, history, include_seed, self._sampling(temperature, random_seed, leash), None)
        coming = self._begin(seed, clips, wish, Listening(self._conditions, bpm, pad_seed))
        with tqdm(total=coming.total, unit="samples", unit_scale=True, desc="generating", disable=None, delay=2) as bar:
            song = np.empty((coming.clips, coming.total), np.float32)
            done = 0
            for piece in coming.pieces:
                song[:, done : done + piece.shape[1]] = piece
                done += piece.shape[1]
                bar.update(piece.shape[1])
        if match_level:
            song[:, -size:] = leveled(song[:, -size:], coming.seeds, self.sample_rate)
        return song[0] if coming.single else song

    def stream(
        self,
        seed: Seed | Sequence[Seed] | Memory,
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
        temperature: float | None = None,
        random_seed: int | None = None,
        leash: float | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
        frames_at_once: int = _FRAMES_AT_ONCE,
    ) -> Iterator[np.ndarray]:
        """Yields the same song as `extend` in pieces; without `seconds` or `steps` it never ends.

        A song that had a fault and was drawn again, which a warning says, is another one in other pieces. Memory is
        constant, except with `history="full"`, which keeps the whole past.

        With a decoder that is better when it sees all frames at once (`LogSpectrum` has one) the frames are the same,
        but phases are rebuilt piece by piece: the pieces join, the samples are others.

        Args:
            seed: As for `extend`, like all the others but one.
            frames_at_once: Frames that are predicted before a piece is yielded: the latency, and the price of it. Each
                number compiles a loop of its own; `benchmarks/stream.py` measures the throughput.

        Yields:
            Float32 samples, (S,) or (clips, S), of any length; put end to end they are the song.

        Raises:
            ValueError: As `extend`.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> song = generator.stream(np.zeros(40, "float32"), frames_at_once=2)
            >>> next(song).shape, next(song).shape
            ((8,), (8,))
        """
        size = self._size(seconds, steps)
        frames_at_once = _checks.positive_int("frames_at_once", frames_at_once)
        wish = Wish(size, history, include_seed, self._sampling(temperature, random_seed, leash), frames_at_once)
        coming = self._begin(seed, clips, wish, Listening(self._conditions, bpm, pad_seed))
        return (piece[0] if coming.single else piece for piece in coming.pieces)

    def listen(
        self, seed: Seed | Sequence[Seed], *, clips: int = 1, bpm: float | None = None, pad_seed: bool = False
    ) -> Memory:
        """Reads a seed and returns the memory of it, from which `extend` and `stream` go on.

        Args:
            seed: As for `extend`.
            clips: How many songs will follow.
            bpm: As for `extend`.
            pad_seed: As for `extend`.

        Returns:
            A `Memory`. Nothing is drawn in reading: it does not depend on temperature or random seed.

        Raises:
            ValueError: As `extend`.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> seed = np.sin(np.arange(80) / 9).astype("float32")
            >>> memory = generator.listen(seed)
            >>> bool((generator.extend(memory, steps=5) == generator.extend(seed, steps=5)).all())
            True
        """
        opening = read_opening(self._parts, seed, clips, Listening(self._conditions, bpm, pad_seed))
        return self._remember(opening, self._programs.loop(len(opening.frames), None))

    def _size(self, seconds: float | None, steps: int | None) -> int | None:
        if seconds is not None and steps is not None:
            raise ValueError(f"Give `seconds` or `steps`, not both. Received: seconds={seconds!r}, steps={steps!r}.")
        if steps is not None:
            return _checks.positive_int("steps", steps) * self.encoder.hop
        if seconds is None:
            return None
        return max(1, round(_checks.number("seconds", seconds, 0, open_low=True) * self.sample_rate))

    def _sampling(self, temperature: float | None, random_seed: int | None, leash: float | None) -> Sampling:
        given = {"temperature": temperature, "random_seed": random_seed}
        named = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
        if named and not self.head.draws(self._parts.width):
            raise ValueError(
                f"`temperature` and `random_seed` are for heads that draw. Received: {named}, with a "
                f"{type(self.head).__name__} head, which draws nothing. Leave them out."
            )
        temperature = self.head.temperature if temperature is None else _checks.number("temperature", temperature, 0)
        random_seed = 0 if random_seed is None else _checks.positive_int("random_seed", random_seed, minimum=0)
        leash = (_LEASH if self._conditions else 0.0) if leash is None else _checks.number("leash", leash, 0, 1)
        return Sampling(temperature, random_seed, leash)

    def _begin(self, seed: Seed | Sequence[Seed] | Memory, clips: int, wish: Wish, listening: Listening) -> Coming:
        before, seeds = None, []
        if isinstance(seed, Memory):
            self._check_memory(seed, wish, listening)
            memory = seed.repeat(_checks.positive_int("clips", clips) if clips > 1 else len(seed.frames))
            single = clips == 1 and len(memory.frames) == 1
            self._programs.stack(len(memory.frames)).refresh()
            pasts, order = self._carried(memory, wish)
        else:
            opening = read_opening(self._parts, seed, clips, listening)
            single, seeds = opening.single, opening.samples
            if wish.include_seed:
                check_equal_lengths(opening.samples)
                before = np.stack(opening.samples)
            pasts, order, memory = self._pasts(opening, wish)
        chunk = wish.frames_at_once or max(past.chunk for past in pasts)
        frames = self._finite(predicted(pasts, order, frames_for(self._parts, wish.size), chunk))
        whole = wish.frames_at_once is None
        pieces = joined(self._parts, memory.frames, memory.samples, frames, wish.size, before, whole)
        total = (wish.size or 0) + (0 if before is None else before.shape[1])
        return Coming(len(memory.frames), total, single, pieces, seeds)

    def _pasts(self, opening: Opening, wish: Wish) -> tuple[list[Past], list[int], Memory]:
        if wish.history == "carry":
            memory = self._remember(opening, self._programs.loop(len(opening.frames), wish.frames_at_once))
            return *self._carried(memory, wish), memory
        window = self._window(wish)
        forward = self._programs.forward()
        groups = _alike(opening.frames)
        pasts: list[Past] = [
            RefedPast(
                *(forward, self.head, clips, [opening.frames[clip] for clip in clips], window, wish.sampling),
                bounds=self._parts.bounds,
            )
            for clips in groups
        ]
        order = np.argsort([clip for clips in groups for clip in clips]).tolist()
        return pasts, order, self._tail(opening, [])

    def _carried(self, memory: Memory, wish: Wish) -> tuple[list[Past], list[int]]:
        clips = len(memory.frames)
        loop = self._programs.loop(clips, wish.frames_at_once, leashed=wish.sampling.leash > 0)
        return [CarriedPast(loop, memory, wish.sampling, self._conditions)], list(range(clips))

    def _remember(self, opening: Opening, loop: Loop) -> Memory:
        """Reads the frames of the seeds but the last, which the first step of the song reads.

        Conditions may read frames before them, so the first ones that are read have a past, too.
        """
        loop.step.stack.refresh()
        memory = self._tail(opening, [])
        seeds, given = [], []
        for clip, frames in enumerate(opening.frames):
            first = max(0, len(memory.past[clip]) - 1) if memory.past else 0
            seeds.append(frames[first:-1])
            if self._conditions:
                to_come = np.arange(first + 1, len(frames)) - len(frames)
                given.append(numbers_at(self._conditions, opening.meters[clip], Frames(frames), to_come))
        return memory._replace(states=loop.read(seeds, loop.start(), given or None).states)

    def _tail(self, opening: Opening, states: list[Tensor]) -> Memory:
        tail = self._parts.tail
        frames = np.stack([one[-tail:] for one in opening.frames])
        samples = np.stack([one[-self.encoder.span(tail) :] for one in opening.samples])
        reaches = [reach(self._conditions, meter) for meter in opening.meters]
        past = [one[len(one) - back :] for one, back in zip(opening.frames, reaches, strict=False)]
        return Memory(frames, states, samples, Usual.of(opening.frames), past, opening.meters)

    def _check_memory(self, memory: Memory, wish: Wish, listening: Listening) -> None:
        if wish.history != "carry" or wish.include_seed or listening.bpm is not None:
            raise ValueError(
                'A memory goes on by `history="carry"`, holds no seed to include, and knows its beat. Received: '
                f"history={wish.history!r}, include_seed={wish.include_seed}, bpm={listening.bpm}. Give the seed "
                "itself."
            )
        states = self._programs.stack(len(memory.frames)).initial_states(1)
        if not memory_fits(memory, states, self._parts.width, bool(self._conditions)):
            raise ValueError(
                "A memory belongs to the network that listened. Received: frames of "
                f"{memory.frames.shape[-1]} numbers and states {[tuple(s.shape) for s in memory.states]}, of another "
                "network. Let this generator `listen` to the seed."
            )

    def _finite(self, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
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
        if self.dtype == "float16":
            return "Weights above 65504 are infinite in float16: use bfloat16, or leave `dtype` out."
        return "Its training has diverged: go back to an earlier model."

    def _window(self, wish: Wish) -> int | None:
        """Returns how many frames are fed again, `None` for all."""
        history = wish.history
        if self._conditions or wish.sampling.leash:
            names = ", ".join(one.name for one in self._conditions) or "leash"
            raise ValueError(
                f'{names}: only for `history="carry"`. Received: history={history!r}. Leave `history` out.'
            )
        if self.dtype is not None:
            raise ValueError(
                'Weights in half precision are for `history="carry"`. '
                f"Received: dtype={self.dtype!r}, history={history!r}. Use a Generator without `dtype`."
            )
        if history == "full":
            return None
        if isinstance(history, str):
            _checks.choice("history", history, ("carry", "full"))
        return _checks.positive_int("history", history)


def _alike(frames: list[np.ndarray]) -> list[list[int]]:
    """Returns groups of clips whose seeds have one length: a batch that is fed again has one length."""
    groups: dict[int, list[int]] = {}
    for clip, one in enumerate(frames):
        groups.setdefault(len(one), []).append(clip)
    return list(groups.values())


def _refuse_parts(given: Mapping[str, object]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise ValueError(
            "An AudioModel brings its own encoder, normalizer, head and rates. "
            f"Received: {', '.join(names)} beside it. Leave them out, or give `model.stack`."
        )


def _incomplete(model: object, encoder: Encoder | None, sample_rate: int | None) -> Exception:
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


def _check_outputs(stack: keras.Model, head: Head, width: int) -> None:
    shape = getattr(stack, "output_shape", None)
    if shape is not None and shape[-1] != head.outputs(width):
        raise ValueError(
            f"The network must give the {head.outputs(width)} numbers that its {type(head).__name__} head wants for "
            f"frames of {width} numbers. Received: {shape}."
        )
