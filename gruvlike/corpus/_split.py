"""Splitting a corpus into training, validation and test parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gruvlike.corpus._track import Track, crc_of


def by_track(tracks: Sequence[Track], shares: Sequence[float]) -> list[list[Track]]:
    """Deals whole tracks out to (training, *shares) so that each share of the samples is met as closely as it can be.

    The order is that of the hashes of the files: it looks random, is always the same, and equal music stays together.
    """
    piece_of = pieces(tracks)
    members: dict[int, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: (track.hash, track.start)):
        members.setdefault(piece_of[track._offset], []).append(track)
    total = sum(map(len, tracks))
    owner: dict[int, int] = {}
    for part, share in enumerate(shares, start=1):
        filled = 0
        for piece, several in members.items():
            size = sum(map(len, several))
            if piece not in owner and filled + size / 2 <= share * total:
                owner[piece] = part
                filled += size
    return [
        [track for track in tracks if owner.get(piece_of[track._offset], 0) == part] for part in range(len(shares) + 1)
    ]


def pieces(tracks: Sequence[Track]) -> dict[int, int]:
    """Returns a number for each track (by its place in the file), the same number for equal music.

    Music is equal if the files are, or the samples: a song as WAV and as FLAC, or with other tags.
    """
    music = _music({track._offset: track for track in tracks})
    number_of: dict[int, int] = {}
    first: dict[str, int] = {}
    for number, track in enumerate(tracks):
        keys = (f"file {track.hash}", f"pcm {music[track._offset]}")
        known = {first[key] for key in keys if key in first}
        lowest = min(known, default=number)
        if len(known) == 2:  # this track ties two pieces together
            number_of.update({offset: lowest for offset, other in number_of.items() if other in known})
            first.update({key: lowest for key, other in first.items() if other in known})
        number_of[track._offset] = lowest
        first.update(dict.fromkeys(keys, lowest))
    return number_of


def count(tracks: Sequence[Track]) -> int:
    """Returns how many pieces of music there are: equal ones count once."""
    return len(set(pieces(tracks).values()))


def _music(tracks: dict[int, Track]) -> dict[int, tuple[int, int]]:
    """Returns a pair for each track, the same for equal PCM: its length and the checksum.

    Where the file has no checksum, one is computed for tracks that look alike. Tracks that do not are not equal.
    """
    alike = Counter(map(_looks, tracks.values()))
    pairs = {}
    for offset, track in tracks.items():
        checksum = track.checksum
        if checksum is None:
            checksum = crc_of(track) if alike[_looks(track)] > 1 else -1 - offset
        pairs[offset] = (track._length, checksum)
    return pairs


def _looks(track: Track) -> tuple[int, float, int]:
    return track._length, track.peak, track.clipped


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
