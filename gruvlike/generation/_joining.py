"""Frames of a song to its samples, joined to the seed without a seam and cut to the length that was asked for."""

from collections.abc import Iterable, Iterator

import numpy as np

from gruvlike.generation._opening import SoundParts


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

    rebuilt = context * encoder.hop  # samples, before the song, that the decoder makes again from frames
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
