"""The opening of a song: seeds, as samples or files, to the frames that the network reads."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gruvlike import _checks
from gruvlike.decoders import Decoder
from gruvlike.encoders import Encoder
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
        single: Whether one seed was given for one clip, so that its song has no axis of clips.
    """

    samples: list[np.ndarray]
    frames: list[np.ndarray]
    single: bool


def read_opening(parts: SoundParts, seed: Seed | Sequence[Seed], clips: int) -> Opening:
    """Reads one seed for all clips, or one for each.

    Raises:
        ValueError: If the number of seeds does not fit, or a seed is too short, not finite or not one-dimensional.
        FileNotFoundError: If a seed is a path without a file.
    """
    _checks.positive_int("clips", clips)
    several = _as_list(seed)
    seeds = [seed] if several is None else several
    if clips > 1 and len(seeds) not in (1, clips):
        raise ValueError(f"Give one seed for all clips, or one for each. Received: {len(seeds)} seeds, clips={clips}.")
    samples = [_samples(parts, one) for one in seeds]
    frames = [_frames(parts, one) for one in samples]
    if len(seeds) == 1:
        samples, frames = samples * clips, frames * clips
    return Opening(samples, frames, single=clips == 1 and several is None)


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


def _samples(parts: SoundParts, seed: Seed | Sequence[Seed]) -> np.ndarray:
    if isinstance(seed, str | os.PathLike):
        from gruvlike import audio

        return audio.read(seed, parts.sample_rate, high_pass_hz=parts.high_pass_hz)
    return _checks.mono("seed", seed)


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
