"""The measures of the takes of a run, beside those of real music, of a frozen block, and of noise."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gruvlike import metrics
from gruvlike._music import Sound, tracks
from gruvlike.listening._openings import Opening
from gruvlike.listening._runs import Run
from gruvlike.metrics._figures import Reference, compared
from gruvlike.metrics._levels import rms
from gruvlike.metrics._report import ROWS, reference_for

_OWN_RHYTHM = "own_rhythm"
_MOST_MINUTES = 30  # of music that songs are compared with: copies in ten hours would be searched for half an hour


class Table(NamedTuple):
    """Measures, or the reason why there are none.

    Attributes:
        columns: The titles of the columns.
        rows: For each measure its name, its value where nothing is wrong, and its value in each column.
        note: A sentence about the table, or why there is none.
    """

    columns: list[str]
    rows: list[tuple[str, str, list[float]]]
    note: str = ""


def table_of(run: Run, number: int, openings: Sequence[Opening]) -> Table:
    """Measures the takes of run `number` and the controls, and returns the means over all openings."""
    rate, hop = run.model.sample_rate, run.model.encoder.hop
    size = len(openings[0].real[rate])
    music, note = _music(run)
    try:
        # `metrics.report` would look at the reference anew for each song.
        reference = reference_for(size, music, hop, rate, _remembering(rate))
        columns = [_column(title, reference, openings, sounds) for title, sounds in _sounds(run, number, openings)]
    except ValueError as error:  # the music is too short, or has too few blocks
        return Table([], [], f"There are no measures. {error}")
    names = [(name, ideal) for name, ideal in ROWS if name in columns[0][1]]
    return Table(
        [title for title, _ in columns],
        [(name, ideal, [figures[name] for _, figures in columns]) for name, ideal in names],
        note,
    )


def _music(run: Run) -> tuple[list[Sound], str]:
    """Returns the music to compare songs with, and a sentence if it is not all: then the same share of each track."""
    music = list(tracks(run.music))
    minutes = sum(len(sound.samples) for sound in music) / run.model.sample_rate / 60
    if minutes <= _MOST_MINUTES:
        return music, ""
    share = _MOST_MINUTES / minutes
    music = [Sound(sound.name, sound.samples[: max(1, int(share * len(sound.samples)))]) for sound in music]
    return music, f"The reference is the first {100 * share:.0f} % of each track: {_MOST_MINUTES} minutes."


def _sounds(run: Run, number: int, openings: Sequence[Opening]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yields a title, and a sound for each opening."""
    own = [[take for take in opening.takes if take.run == number] for opening in openings]
    for takes in zip(*own, strict=True):
        yield title_of(takes[0].temperature), [take.samples for take in takes]
    rate = run.model.sample_rate
    pairs = [(opening.seeds[rate], opening.real[rate]) for opening in openings]
    yield "real music", [real for _, real in pairs]
    yield "frozen block", [_frozen(run, seed, len(real)) for seed, real in pairs]
    yield "noise", [_noise(real, random_seed) for random_seed, (_, real) in enumerate(pairs)]


def title_of(temperature: float | None) -> str:
    """Returns the title of a take."""
    return "song" if temperature is None else f"temperature {temperature:g}"


def _column(
    title: str, reference: Reference, openings: Sequence[Opening], sounds: Sequence[np.ndarray]
) -> tuple[str, dict[str, float]]:
    found = []
    for opening, sound in zip(openings, sounds, strict=True):
        figures, _ = compared(sound, reference)
        found.append({**figures, _OWN_RHYTHM: _own_rhythm(opening, sound, reference.sample_rate)})
    return title, {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _remembering(rate: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the features of the Fréchet distance, which are found once for each sound."""
    known: dict[bytes, np.ndarray] = {}

    def embed(samples: np.ndarray) -> np.ndarray:
        key = hashlib.sha256(samples.tobytes()).digest()
        if key not in known:
            known[key] = metrics.log_mel_statistics(samples, rate)
        return known[key]

    return embed


def _own_rhythm(opening: Opening, sound: np.ndarray, rate: int) -> float:
    """Returns the similarity of the rhythm of a sound with that of the seed; NaN if the seed has no clear beat."""
    beat_seconds, seed = opening.place.beat_seconds, opening.seeds[rate]
    if beat_seconds is None:
        return math.nan
    own = metrics.rhythm_pattern(sound, rate, beat_seconds, start_seconds=len(seed) / rate)
    return metrics.rhythm_similarity(own, metrics.rhythm_pattern(seed, rate, beat_seconds))


def _frozen(run: Run, seed: np.ndarray, size: int) -> np.ndarray:
    """Returns the last frame of a seed, over and over: the song of a network that has stopped to move."""
    encoder = run.model.encoder
    frame = np.asarray(encoder.encode(seed[-encoder.span(1) :], padded=False))[-1:]
    frames = np.repeat(frame, -(-(size + encoder.lap) // encoder.hop), axis=0)
    return np.clip(np.asarray(encoder.decode(frames))[:size], -1, 1)


def _noise(real: np.ndarray, random_seed: int) -> np.ndarray:
    """Returns white noise at the level of the real music."""
    return np.clip(rms(real) * np.random.default_rng(random_seed).standard_normal(len(real)), -1, 1).astype("float32")
