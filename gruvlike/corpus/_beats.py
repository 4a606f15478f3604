"""The beats of a corpus: those that a file lacks, those at the edge of the range, those given by hand."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gruvlike._checks import choice
from gruvlike._files import replacing
from gruvlike.corpus import _file, _parallel, _parts
from gruvlike.corpus._track import Track
from gruvlike.rhythm import Beat
from gruvlike.rhythm._beat import HIGH, LOW, at_edge, check_bpm
from gruvlike.rhythm._beat import find as find_beat

logger = logging.getLogger(__name__)


def find(pcm: Sequence[np.ndarray], sample_rate: int, bpm: Sequence[float | None] | None = None) -> list[Beat]:
    """Returns the beat of each track, whose tempo may be known."""
    if not pcm:
        return []
    jobs = list(zip(pcm, bpm or [None] * len(pcm), strict=True))
    sizes = [len(track) for track in pcm]
    return _parallel.run(lambda job: find_beat(job[0], sample_rate, job[1]), jobs, sizes, "Finding beats", "track")


def add(file: Path, bpm: Mapping[str, float]) -> list[str]:
    """Writes the corpus file again with the beats that it lacks or that are given; returns the names of the tracks."""
    tracks = _file.read(file).tracks
    names = tuple(track.name for track in tracks)
    bpm = {choice("bpm", name, names): check_bpm(f"bpm[{name!r}]", value) for name, value in bpm.items()}
    if not _todo(tracks, bpm):
        logger.info("%r: all %d tracks have beats.", str(file), len(tracks))
        return []
    # A build at the same time would replace the file once more, so the file is read again under its lock.
    rule = f"Beats are added to a corpus that is complete. Received: {str(file)!r}, which is being built now. Wait."
    with _parts.alone(file, rule):
        rate, high_pass_hz, tracks, _ = _file.read(file)
        todo = _todo(tracks, bpm)
        found = find([tracks[i].pcm for i in todo], rate, [bpm.get(tracks[i].name) for i in todo])
        beats = dict(zip(todo, found, strict=True))
        changed = [replace(track, _beat=beats.get(index, track._beat)) for index, track in enumerate(tracks)]
        with replacing(file, sync=True) as temporary:
            _file.write(temporary, rate, high_pass_hz, ((_file.attributes(track), track.pcm) for track in changed))
    warn_of_edges((tracks[i].name, beats[i]) for i in todo if tracks[i].name not in bpm)
    logger.info("%r: beats of %d of %d tracks were added.", str(file), len(todo), len(tracks))
    return [tracks[i].name for i in todo]


def _todo(tracks: Sequence[Track], bpm: Mapping[str, float]) -> list[int]:
    """Returns the numbers of the tracks that lack a beat or whose tempo is given."""
    return [index for index, track in enumerate(tracks) if track.beat is None or track.name in bpm]


def warn_of_edges(beats: Iterable[tuple[str, Beat | None]]) -> None:
    """Logs which tempos, of (name, beat) that were found, lie at the edge of the range."""
    found = [f"{name!r} ({beat.bpm:.1f})" for name, beat in beats if beat and at_edge(beat)]
    if found:
        logger.warning(
            "The tempo found is at the edge of the range %g to %g in %d tracks: half or double of it may be the true "
            "one. Give it with `Corpus.add_beats(bpm=...)`: %s",
            *(LOW, HIGH, len(found), ", ".join(found)),
        )
