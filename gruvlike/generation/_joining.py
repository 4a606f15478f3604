"""Frames of a song to its samples, joined to the seed without a seam and cut to the length that was asked for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gruvlike.generation._opening import SoundParts

_FADE_SECONDS = 0.01  # a gain fades in over so many seconds


class Coming(NamedTuple):
    """Songs that have begun.

    Attributes:
        clips: How many.
        total: Samples of each in all, with the seed where it is wanted; without meaning if they never end.
        single: Whether there is no axis of clips.
        pieces: The samples, (clips, S) each.
        seeds: The samples of each seed; empty if the songs go on from a memory.
    """

    clips: int
    total: int
    single: bool
    pieces: Iterator[np.ndarray]
    seeds: Sequence[np.ndarray]


def leveled(songs: np.ndarray, seeds: Sequence[np.ndarray], sample_rate: int) -> np.ndarray:
    """Returns songs (clips, S) as loud as their seeds; the gain fades in, so that each still joins its seed."""
    from gruvlike import audio

    pairs = zip(songs, seeds, strict=True)
    matched = np.stack([audio.match_level(song, sounding(seed), sample_rate) for song, seed in pairs])
    fade = np.minimum(np.arange(songs.shape[1], dtype="float32") / (_FADE_SECONDS * sample_rate), 1)
    return np.clip(songs + fade * (matched - songs), -1, 1)


def sounding(seed: np.ndarray) -> np.ndarray:
    """Returns the samples of a seed without the silence that may have been put before it."""
    return seed[np.argmax(seed != 0) :]


def frames_for(parts: SoundParts, size: int | None) -> int | None:
    """Returns how many frames must be predicted so that `size` samples after the seed are complete."""
    return None if size is None else -(-(size + parts.encoder.lap) // parts.encoder.hop)


def joined(
    parts: SoundParts,
    tail: np.ndarray,
    samples: np.ndarray,
    predicted: Iterable[np.ndarray],
    size: int | None,
    seeds: np.ndarray | None = None,
    whole: bool = False,
) -> Iterator[np.ndarray]:
    """Yields samples (clips, S): the seeds where they are wanted, then the songs.

    Args:
        parts: The parts between samples and frames.
        tail: The last frames of the seeds, normalized, (clips, T, W).
        samples: The sound under the last frames, (clips, S).
        predicted: Frames of the songs, normalized, in pieces.
        size: Samples of a song, or `None`: without end.
        seeds: Samples (clips, S) to put before the songs, or `None`.
        whole: Whether a decoder that prefers it gets all frames in one piece.
    """
    context, encoder = parts.decoder.context, parts.encoder

    def pieces() -> Iterator[np.ndarray]:
        if context:
            yield parts.plain(tail[:, -context:])
        yield from map(parts.plain, predicted)

    rebuilt = context * encoder.hop  # the decoder makes so many samples before the song again from frames
    under = samples[:, -encoder.span(context) :] if context else None
    source = iter([np.concatenate(list(pieces()), axis=1)]) if whole and parts.decoder.whole else pieces()
    decoded = parts.decoder.stream(source, under)
    if seeds is not None:
        yield seeds[:, : seeds.shape[1] - rebuilt]
    left = None if size is None else size + (0 if seeds is None else rebuilt)
    skipped = rebuilt if seeds is None else 0
    for sound in decoded:
        drop = min(skipped, sound.shape[1])
        skipped -= drop
        sound = sound[:, drop : None if left is None else drop + left]
        if left is not None:
            left -= sound.shape[1]
        if sound.shape[1]:
            yield sound
