"""The opening of a song: seeds, as samples or files, to the frames that the network reads."""

import os
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike.conditions import Condition, Meter
from gruvlike.conditions._frames import reach
from gruvlike.decoders import Decoder
from gruvlike.encoders import Encoder
from gruvlike.generation._memory import Memory
from gruvlike.normalizers import Normalizer

Seed = np.ndarray | str | os.PathLike


class SoundParts(NamedTuple):
    """The parts between samples and the frames that a network reads.

    Attributes:
        encoder: Samples <-> frames.
        normalizer: Frames <-> normalized frames; `None`: the network reads plain frames.
        decoder: Frames in pieces -> the sound of a song.
        sample_rate: In Hz.
        high_pass_hz: The filter that the music went through; seeds that are files get the same.
    """

    encoder: Encoder
    normalizer: Normalizer | None
    decoder: Decoder
    sample_rate: int
    high_pass_hz: float | None

    @property
    def width(self) -> int:
        """Numbers of a frame that the network reads."""
        own = None if self.normalizer is None else self.normalizer.width
        return self.encoder.features if own is None else own

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and greatest value of each normalized number, (W,) each, where they are known."""
        bounds = None if self.normalizer is None else self.normalizer.bounds
        return None if bounds is None else (ops.convert_to_numpy(bounds[0]), ops.convert_to_numpy(bounds[1]))

    @property
    def tail(self) -> int:
        """How many of a seed's last frames are kept for its song: one to read, and all that sound on into it."""
        return max(1, self.decoder.context)

    def plain(self, frames: np.ndarray) -> np.ndarray:
        """Returns normalized frames in the encoder's units."""
        return frames if self.normalizer is None else np.asarray(self.normalizer.inverse(frames))


class Opening(NamedTuple):
    """The seeds of all clips.

    Attributes:
        samples: Of each clip, (S,).
        frames: Normalized frames of each clip, (T, W).
        meters: The beat of each clip, counted from the first frame of its song; empty where no beat is read.
        single: Whether one seed was given for one clip, so that its song has no axis of clips.
    """

    samples: list[np.ndarray]
    frames: list[np.ndarray]
    single: bool
    meters: list[Meter]


class Listening(NamedTuple):
    """The needs of a network besides the frames of a seed.

    Attributes:
        conditions: Inputs of the network besides the last frame.
        bpm: Beats a minute of the seed; `None`: they are found.
        pad_seed: Whether silence is put before a seed that is too short for the conditions.
    """

    conditions: Sequence[Condition] = ()
    bpm: float | None = None
    pad_seed: bool = False


def enough_seconds(parts: SoundParts, conditions: Sequence[Condition]) -> float:
    """Returns the seconds of a seed that are enough for a network, whatever tempo is found in it."""
    from gruvlike.rhythm._beat import LOW, least_samples

    slowest = 60 / LOW * parts.sample_rate / parts.encoder.hop  # frames
    frames = max(parts.tail, reach(conditions, Meter(slowest, 0.0)) + 1)
    bar = least_samples(parts.sample_rate, LOW) if any(one.needs_beat for one in conditions) else 0
    return max(parts.encoder.span(frames), bar) / parts.sample_rate


def read_opening(parts: SoundParts, seed: Seed | Sequence[Seed], clips: int, listening: Listening) -> Opening:
    """Reads one seed for all clips, or one for each.

    Raises:
        ValueError: If the number of seeds does not fit, or a seed is too short, not finite or not one-dimensional.
        FileNotFoundError: If a seed is a path without a file.
    """
    _checks.positive_int("clips", clips)
    if isinstance(seed, Memory):
        raise ValueError(
            "A seed must be samples or a path here. Received: a memory. Give the seed that it was made of; `extend`, "
            "`stream` and `morph` go on from a memory."
        )
    _check_listening(listening)
    several = _as_list(seed)
    seeds = [seed] if several is None else several
    if clips > 1 and len(seeds) not in (1, clips):
        raise ValueError(f"Give one seed for all clips, or one for each. Received: {len(seeds)} seeds, clips={clips}.")
    samples = [read_samples(parts, "seed", one) for one in seeds]
    meters = [_meter(parts, one, listening) for one in samples] if listening.conditions else []
    if meters:
        samples = [_long_enough(parts, one, listening, meter) for one, meter in zip(samples, meters, strict=True)]
    elif listening.pad_seed:
        samples = [_padded(one, parts.encoder.span(parts.tail)) for one in samples]
    frames = [_frames(parts, one) for one in samples]
    if len(seeds) == 1:
        samples, frames, meters = samples * clips, frames * clips, meters * clips
    return Opening(samples, frames, clips == 1 and several is None, meters)


def _check_listening(listening: Listening) -> None:
    """Raises if a beat is given that nothing reads."""
    if listening.bpm is not None and not any(one.needs_beat for one in listening.conditions):
        raise ValueError(
            f"`bpm` is for networks that read the beat (a clock, lags in beats, an anchor). Received: "
            f"bpm={listening.bpm!r}, and a network that reads none. Leave it out."
        )


def _meter(parts: SoundParts, samples: np.ndarray, listening: Listening) -> Meter:
    """Returns the beat of a seed, counted from the frame that follows it."""
    encoder, rate = parts.encoder, parts.sample_rate
    # The frame that follows has this middle, in seconds.
    middle = (len(samples) + encoder.hop - encoder.span(1) / 2) / rate
    if not any(condition.needs_beat for condition in listening.conditions):
        return Meter.of(None, rate / encoder.hop, middle)
    from gruvlike import rhythm

    beat = rhythm.tempo(samples, rate, bpm=listening.bpm)
    if not beat.clear:
        warnings.warn(
            f"The network reads the beat of its seed, and this one has no clear beat (confidence {beat.confidence:.2f})"
            ": its clock says nothing, and lags in beats count half a second for each. Give `bpm=`, or another seed.",
            RuntimeWarning,
            stacklevel=2,
        )
    return Meter.of(beat, rate / encoder.hop, middle)


def _long_enough(parts: SoundParts, samples: np.ndarray, listening: Listening, meter: Meter) -> np.ndarray:
    """Returns the samples, with silence before them if asked for, or raises if they are too short."""
    needed = parts.encoder.span(reach(listening.conditions, meter) + 1)
    if len(samples) >= needed:
        return samples
    if not listening.pad_seed:
        raise ValueError(
            f"A seed must reach back as far as the network reads: {needed / parts.sample_rate:.2f} s for this beat. "
            f"Received: {len(samples) / parts.sample_rate:.2f} s. Give a longer one, or `pad_seed=True` "
            "(`--pad-seed`), which puts silence before it."
        )
    return _padded(samples, needed)


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    """Returns the samples, with as much silence before them as makes `size` of them."""
    return np.concatenate([np.zeros(max(0, size - len(samples)), samples.dtype), samples])


def check_equal_lengths(samples: list[np.ndarray]) -> None:
    """Raises unless all seeds have the same length: only then can they stand before their songs in one array."""
    lengths = sorted({len(one) for one in samples})
    if len(lengths) > 1:
        raise ValueError(
            "With `include_seed` all seeds must have the same length. "
            f"Received: {lengths} samples. Cut them, or continue them one by one."
        )


def _as_list(seed: Seed | Sequence[Seed]) -> list[Seed] | None:
    """Returns a list of seeds as it is; `None` for a single seed, which a list of numbers is, too."""
    if isinstance(seed, list | tuple) and not all(isinstance(one, float | int) for one in seed):
        return list(seed)
    return None


def read_samples(parts: SoundParts, name: str, seed: Seed | Sequence[Seed]) -> np.ndarray:
    """Returns the samples of a seed, or of another sound that `name` names in errors."""
    if isinstance(seed, str | os.PathLike):
        from gruvlike import seeds

        return seeds._read(seed, parts.sample_rate, parts.high_pass_hz)
    return _checks.mono(name, seed)


def _frames(parts: SoundParts, samples: np.ndarray) -> np.ndarray:
    encoder, least = parts.encoder, parts.tail
    steps = (len(samples) - encoder.lap) // encoder.hop
    if steps < least:
        raise ValueError(
            f"A seed must fill at least {least} frame{'s' * (least > 1)}, {encoder.span(least)} samples "
            f"({encoder.span(least) / parts.sample_rate:.3g} s). "
            f"Received: {len(samples)} samples. Give a longer one."
        )
    frames = encoder.encode(samples[-encoder.span(steps) :], padded=False)
    return frames if parts.normalizer is None else np.asarray(parts.normalizer(frames))
