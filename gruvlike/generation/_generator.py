"""Continue a seed: the one entry point to generation."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._step._layouts import fastest_layout, lay_out
from gruvlike._step._loops import Loop, make_forward, make_loop
from gruvlike._step._stateless import StatelessStack, refuse_bidirectional
from gruvlike.generation._pasts import CarriedPast, RefedPast, check_causal

Seed = np.ndarray | str | os.PathLike


class Generator:
    """Continues a seed, block by block, with a network that predicts the next frame.

    Args:
        model: A `gruvlike.AudioModel`, the path of a saved one, or any Keras model (B, T, F) -> (B, T, F) that
            predicts the next normalized frame at every step; then `encoder`, `normalizer` and `sample_rate` say what
            its frames are.
        encoder: Samples <-> frames. Only beside a Keras model of your own.
        normalizer: Scales frames; `None` there means that the network works on plain frames.
        sample_rate: In Hz.
        high_pass_hz: The high-pass filter that the music went through; seeds given as paths get the same.
        dtype: `"bfloat16"` or `"float16"`: the matrices of LSTM, GRU and Dense layers are read in that type, as copies
            made at the start of each song. States and sums stay float32. It halves what a step reads, for GPUs;
            on a CPU it gains nothing (docs/speed.md has the figures, and what it does to the sound). `None`: as they
            are.
        torch_compile: On torch: compile the step by `torch.compile`, in the first song of each number of clips. That
            takes seconds to minutes, which only very long songs win back, and needs a C++ compiler; where it fails, a
            warning says so and the song goes on without. TensorFlow and JAX always compile.

    Attributes:
        stack, encoder, normalizer, sample_rate, high_pass_hz, dtype, torch_compile: As given, or those of the model.

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

    stack: keras.Model
    encoder: Any
    normalizer: Any
    sample_rate: int
    high_pass_hz: float | None
    dtype: str | None
    torch_compile: bool

    def __init__(
        self,
        model: Any,
        encoder: Any = None,
        normalizer: Any = None,
        sample_rate: int | None = None,
        high_pass_hz: float | None = None,
        dtype: str | None = None,
        torch_compile: bool = False,
    ):
        self.dtype = None if dtype is None else _checks.choice("dtype", dtype, ("bfloat16", "float16"))
        self.torch_compile = torch_compile
        given = {"encoder": encoder, "normalizer": normalizer, "sample_rate": sample_rate, "high_pass_hz": high_pass_hz}
        if isinstance(model, str | os.PathLike):
            from gruvlike.models import load

            model = load(model)
        if isinstance(getattr(model, "stack", None), keras.Model):
            self._refuse_parts(given)
            self.stack = model.stack
            given = {name: getattr(model, name) for name in given}
        else:
            self.stack = _check_own(model, given)
        for name, value in given.items():
            setattr(self, name, value)
        refuse_bidirectional(self.stack)
        self._twins: dict[str | None, StatelessStack] = {}
        self._loops: dict[int, Loop] = {}
        self._forward: Any = None

    @staticmethod
    def _refuse_parts(given: dict[str, Any]) -> None:
        names = [name for name, value in given.items() if value is not None]
        if names:
            raise ValueError(
                "An AudioModel brings its own encoder, normalizer and rates. "
                f"Received: {', '.join(names)} beside it. Leave them out, or give `model.stack`."
            )

    def extend(
        self,
        seed: Seed | Sequence[Seed],
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
    ) -> np.ndarray:
        """Returns the sound that follows a seed.

        Args:
            seed: Samples (S,) at the generator's rate, or the path of a sound file (read, resampled, filtered like
                the corpus); or a list of those, a clip each. It is aligned at its end: leading samples that fill no
                frame are dropped.
            seconds: Length of the song; or
            steps: the same in frames.
            history: What the network knows of the past: `"carry"`, all of it, in its states, at constant cost;
                `"full"`, all of it, fed again at each step, as the paper did (the same song, slowly); or an integer
                k, the last k frames.
            include_seed: Whether the seed is put before the song, joined by the lap of the encoder.
            clips: How many songs. The network draws nothing at random, so songs of one seed are alike: give a seed
                for each.

        Returns:
            Float32 samples: (S,) for one seed and `clips=1`, else (clips, S). The song starts with the sample after
            the seed and has exactly `round(seconds * sample_rate)` or `steps * hop` samples.

        Raises:
            ValueError: If the seed is shorter than a frame, not finite or not one-dimensional, an argument is out of
                range, the state of a layer cannot be carried, or the network predicts NaN.
            FileNotFoundError: If a seed is a path without a file.
        """
        size = self._size(seconds, steps)
        from tqdm import tqdm

        if size is None:
            raise ValueError(
                "`extend` needs the length of the song. Received: neither `seconds` nor `steps`. Give one."
            )
        starts, frames = self._read(seed, clips, include_seed)
        single = len(starts) == 1 and clips == 1 and not _is_several(seed)
        pieces = self._pieces(starts, frames, size, history, include_seed, whole=not self.encoder.invertible)
        total = size + (len(starts[0]) if include_seed else 0)
        with tqdm(total=total, unit="samples", unit_scale=True, desc="generating", disable=None, delay=2) as bar:
            song = np.empty((len(starts), total), np.float32)
            done = 0
            for piece in pieces:
                song[:, done : done + piece.shape[1]] = piece
                done += piece.shape[1]
                bar.update(piece.shape[1])
        return song[0] if single else song

    def stream(
        self,
        seed: Seed | Sequence[Seed],
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
    ) -> Iterator[np.ndarray]:
        """Yields the same song as `extend` in pieces; without `seconds` or `steps` it never ends.

        Memory is constant, except with `history="full"`, which keeps the whole past.

        With an encoder that is not `invertible` (`LogSpectrum`) the frames are the same, but the phases are guessed
        piece by piece: the pieces join, the samples are others.

        Args:
            seed: As for `extend`, like all the others.

        Yields:
            Float32 samples, (S,) or (clips, S), of any length; put end to end they are the song.

        Raises:
            ValueError: As `extend`.
        """
        size = self._size(seconds, steps)
        starts, frames = self._read(seed, clips, include_seed)
        single = len(starts) == 1 and clips == 1 and not _is_several(seed)
        pieces = self._pieces(starts, frames, size, history, include_seed)
        return (piece[0] if single else piece for piece in pieces)

    def _size(self, seconds: float | None, steps: int | None) -> int | None:
        if seconds is not None and steps is not None:
            raise ValueError(f"Give `seconds` or `steps`, not both. Received: seconds={seconds!r}, steps={steps!r}.")
        if steps is not None:
            return _checks.positive_int("steps", steps) * self.encoder.hop
        if seconds is None:
            return None
        return max(1, round(_checks.number("seconds", seconds, 0, open_low=True) * self.sample_rate))

    def _read(self, seed: Any, clips: int, include_seed: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns, for each clip, the samples of its seed and their normalized frames (T, F)."""
        _checks.positive_int("clips", clips)
        seeds = list(seed) if _is_several(seed) else [seed]
        if clips > 1 and len(seeds) not in (1, clips):
            raise ValueError(
                f"Give one seed for all clips, or one for each. Received: {len(seeds)} seeds, clips={clips}."
            )
        starts = [self._samples(one) for one in seeds]
        frames = [self._frames(start) for start in starts]
        if len(seeds) == 1:
            starts, frames = starts * clips, frames * clips
        if include_seed and len({len(start) for start in starts}) > 1:
            raise ValueError(
                "With `include_seed` all seeds must have the same length. "
                f"Received: {sorted({len(start) for start in starts})} samples. Cut them, or continue them one by one."
            )
        return starts, frames

    def _samples(self, seed: Seed) -> np.ndarray:
        if isinstance(seed, str | os.PathLike):
            from gruvlike import audio

            return audio.read(seed, self.sample_rate, high_pass_hz=self.high_pass_hz)
        return _checks.mono("seed", seed)

    def _frames(self, samples: np.ndarray) -> np.ndarray:
        steps = (len(samples) - self.encoder.lap) // self.encoder.hop
        least = max(1, self._context)
        if steps < least:
            raise ValueError(
                f"A seed must fill at least {least} frame{'s' * (least > 1)}, {self.encoder.span(least)} samples "
                f"({self.encoder.span(least) / self.sample_rate:.3g} s). "
                f"Received: {len(samples)} samples. Give a longer one."
            )
        frames = self.encoder.encode(samples[-self.encoder.span(steps) :], padded=False)
        return frames if self.normalizer is None else np.asarray(self.normalizer(frames))

    @property
    def _context(self) -> int:
        """How many of the seed's frames sound on into the song."""
        return -(-self.encoder.lap // self.encoder.hop)

    def _pieces(self, starts, frames, size, history, include_seed, whole=False) -> Iterator[np.ndarray]:
        """Yields (clips, S) samples: the seed if it is wanted, then the song, `size` samples of it or without end."""
        predicted = self._predicted(frames, self._steps(size), history)
        joined = self._context * self.encoder.hop  # samples, before the song, that are rebuilt from frames
        decoded = self._decoded(starts, frames, predicted, whole)
        if include_seed:
            yield np.stack(starts)[:, : len(starts[0]) - joined]
        left, skipped = size, 0 if include_seed else joined
        left = None if left is None else left + (joined if include_seed else 0)
        for samples in decoded:
            drop = min(skipped, samples.shape[1])
            skipped -= drop
            samples = samples[:, drop : None if left is None else drop + left]
            if left is not None:
                left -= samples.shape[1]
            if samples.shape[1]:
                yield samples

    def _steps(self, size: int | None) -> int | None:
        """Frames to predict so that `size` samples after the seed are complete."""
        return None if size is None else -(-(size + self.encoder.lap) // self.encoder.hop)

    def _decoded(
        self, starts: list[np.ndarray], frames: list[np.ndarray], predicted: Iterator[np.ndarray], whole: bool
    ) -> Iterator[np.ndarray]:
        def pieces() -> Iterator[np.ndarray]:
            if self._context:
                yield self._plain(np.stack([one[-self._context :] for one in frames]))
            yield from map(self._plain, predicted)

        if self.encoder.invertible:
            yield from self.encoder.decode_stream(pieces())
            return
        # An encoder that guesses the phase goes on from that of the seed, and guesses better when it sees all frames.
        past = np.stack([start[-self.encoder.span(self._context) :] for start in starts]) if self._context else None
        yield from self.encoder.decode_stream([np.concatenate(list(pieces()), axis=1)] if whole else pieces(), past)

    def _plain(self, frames: np.ndarray) -> np.ndarray:
        return frames if self.normalizer is None else np.asarray(self.normalizer.inverse(frames))

    def _predicted(self, frames: list[np.ndarray], steps: int | None, history: Any) -> Iterator[np.ndarray]:
        """Yields normalized frames (clips, T, F) of the song."""
        groups = [list(range(len(frames)))] if history == "carry" else _alike(frames)
        order = np.argsort([clip for clips in groups for clip in clips])
        pasts = [self._history(history, [frames[clip] for clip in clips]) for clips in groups]
        chunk = min(past.chunk for past in pasts)
        done = 0
        while steps is None or done < steps:
            count = chunk if steps is None else min(chunk, steps - done)
            taken = [past.take(count) for past in pasts]
            piece = taken[0] if len(taken) == 1 else np.concatenate(taken)[order]
            if not np.isfinite(piece).all():
                raise ValueError(
                    f"The network must predict finite frames. Received: NaN or infinity within frames {done} to "
                    f"{done + count} of the song. {self._why_not_finite()}"
                )
            yield piece
            done += count

    def _why_not_finite(self) -> str:
        if self.dtype == "float16":
            return "Weights above 65504 are infinite in float16: use bfloat16, or leave `dtype` out."
        return "Its training has diverged: go back to an earlier model."

    def _history(self, history: Any, seeds: list[np.ndarray]) -> CarriedPast | RefedPast:
        if history == "carry":
            return CarriedPast(self._loop(len(seeds), seeds[0].shape[-1]), seeds)
        if self.dtype is not None:
            raise ValueError(
                'Weights in half precision are for `history="carry"`. '
                f"Received: dtype={self.dtype!r}, history={history!r}. Use a Generator without `dtype`."
            )
        if history != "full":
            if isinstance(history, str):
                _checks.choice("history", history, ("carry", "full"))
            _checks.positive_int("history", history)
        if self._forward is None:
            self._forward = make_forward(self.stack, seeds[0].shape[-1])
            check_causal(self.stack, self._forward, seeds[0].shape[-1])
        return RefedPast(self._forward, np.stack(seeds), None if history == "full" else history)

    def _loop(self, clips: int, features: int) -> Loop:
        layout = None if self.dtype else fastest_layout(clips)
        if layout in self._twins:
            self._twins[layout].refresh()
        else:
            self._twins[layout] = lay_out(self.stack, self.dtype, layout)
        if clips not in self._loops:
            self._loops[clips] = make_loop(self._twins[layout], clips, features, self.torch_compile)
        return self._loops[clips]


def _alike(frames: list[np.ndarray]) -> list[list[int]]:
    """Returns which clips have seeds of one length: the past that is fed again has no place for others."""
    groups: dict[int, list[int]] = {}
    for clip, one in enumerate(frames):
        groups.setdefault(len(one), []).append(clip)
    return list(groups.values())


def _is_several(seed: Any) -> bool:
    """Whether `seed` is a list of seeds; a list of numbers is one seed."""
    return isinstance(seed, list | tuple) and not all(isinstance(one, float | int) for one in seed)


def _check_own(model: Any, given: dict[str, Any]) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be an AudioModel, the path of a saved one, or a Keras model. "
            f"Received: {type(model).__name__}."
        )
    missing = [name for name in ("encoder", "sample_rate") if given[name] is None]
    if missing:
        raise ValueError(
            "A Keras model needs `encoder=` and `sample_rate=` beside it (and `normalizer=`, if it was trained on "
            f"normalized frames). Received: no {' and no '.join(missing)}."
        )
    _checks.positive_int("sample_rate", given["sample_rate"])
    shape = getattr(model, "output_shape", None)
    if shape is not None and shape[-1] != given["encoder"].features:
        raise ValueError(
            f"The network must predict frames of the encoder's {given['encoder'].features} features. Received: {shape}."
        )
    return model
