"""Splitting a corpus into training, validation and test parts."""

from collections.abc import Sequence
from dataclasses import replace

from gruvlike.corpus._file import Track


def by_track(tracks: Sequence[Track], shares: Sequence[float]) -> list[list[Track]]:
    """Deals whole tracks out to (training, *shares) so that each share of the samples is met as closely as it can be.

    The order is that of the content hashes: it looks random, is always the same, and equal files stay together.
    """
    groups: dict[str, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: (track.hash, track.start)):
        groups.setdefault(track.hash, []).append(track)
    total = sum(map(len, tracks))
    owner: dict[str, int] = {}
    for part, share in enumerate(shares, start=1):
        filled = 0
        for digest, group in groups.items():
            size = sum(map(len, group))
            if digest not in owner and filled + size / 2 <= share * total:
                owner[digest] = part
                filled += size
    return [[track for track in tracks if owner.get(track.hash, 0) == part] for part in range(len(shares) + 1)]


def by_time(tracks: Sequence[Track], shares: Sequence[float], gap: int) -> list[list[Track]]:
    """Cuts each track in time: training first, then each share, with `gap` unused samples before each share.

    The gap is taken from the end of the part before it, of which it leaves at least half.
    """
    parts: list[list[Track]] = [[] for _ in range(len(shares) + 1)]
    for track in tracks:
        cuts = [0]
        for done in range(len(shares)):
            cuts.append(round(len(track) * (1 - sum(shares[done:]))))
        cuts.append(len(track))
        for index, part in enumerate(parts):
            start, stop = cuts[index], cuts[index + 1]
            if index < len(shares):
                stop -= min(gap, (stop - start) // 2)
            if stop > start:
                part.append(replace(track, start=track.start + start, stop=track.start + stop))
    return parts
