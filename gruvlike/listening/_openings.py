"""The sounds of a page: openings of held-out music, the music that really follows, and the songs of each run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gruvlike.callbacks._songs import continued
from gruvlike.corpus import Track
from gruvlike.generation import Generator
from gruvlike.listening._runs import Run

_SHARES = (0.5, 1.0)  # takes are drawn at these temperatures, too, beside that of the head


class Place(NamedTuple):
    """A place in held-out music.

    Attributes:
        name: Name of the track.
        hash: Of the file that the track came from.
        seconds: Time within the whole track.
        beat_seconds: Of the track; `None` where it has no clear beat.
    """

    name: str
    hash: str
    seconds: float
    beat_seconds: float | None


class Take(NamedTuple):
    """A song.

    Attributes:
        run: Number of its run.
        temperature: At which it was drawn; `None` where nothing is drawn.
        samples: Samples (S,) at the rate of the run.
        sample_rate: Samples per second.
    """

    run: int
    temperature: float | None
    samples: np.ndarray
    sample_rate: int


class Opening(NamedTuple):
    """A seed, and all that follows it.

    Attributes:
        place: Where it comes from.
        seeds: Sample rate -> samples (S,) of the seed.
        real: Sample rate -> samples (S,) of the music that really follows, as long as a song.
        takes: The songs.
    """

    place: Place
    seeds: dict[int, np.ndarray]
    real: dict[int, np.ndarray]
    takes: list[Take]


class Wish(NamedTuple):
    """The wishes for the sounds of a page.

    Attributes:
        seeds: How many, at most.
        seed_seconds: Length of a seed.
        seconds: Length of a song.
        temperatures: Of the takes; `None`: half the temperature of the head, that of the head, and 1.
        random_seed: Decides the draws.
    """

    seeds: int
    seed_seconds: float
    seconds: float
    temperatures: tuple[float, ...] | None
    random_seed: int


class Section(NamedTuple):
    """A section of a track, in seconds of the whole track."""

    track: Track
    start: float
    stop: float


def openings_of(runs: Sequence[Run], wish: Wish) -> tuple[list[Opening], list[str]]:
    """Returns the openings, and sentences about all that is other than wished for.

    Raises:
        ValueError: If the runs hold out no music in common, or too little.
    """
    generators = [Generator(run.model) for run in runs]
    sections = _common(runs)
    seed_seconds, seconds, notes = _lengths(generators, sections, wish)
    places = _places(sections, wish.seeds, seed_seconds + seconds)
    if len(places) < wish.seeds:
        notes.append(f"The held-out music has room for {len(places)} of {wish.seeds} seeds.")
    openings = [Opening(place, {}, {}, []) for place in places]
    for number, (run, generator) in enumerate(zip(runs, generators, strict=True)):
        rate = generator.sample_rate
        size, song_size = round(seed_seconds * rate), int(seconds * rate)
        pieces = [_cut(run, place, size + song_size) for place in places]
        for opening, piece in zip(openings, pieces, strict=True):
            opening.seeds[rate], opening.real[rate] = piece[:size], piece[size:]
        for temperature in _temperatures(run, wish):
            random_seed = None if temperature is None else wish.random_seed
            songs = continued(
                generator, [piece[:size] for piece in pieces], song_size / rate, temperature, None, random_seed
            )
            for opening, song in zip(openings, songs, strict=True):
                opening.takes.append(Take(number, temperature, song, rate))
    return openings, notes


def draws(run: Run) -> bool:
    """Returns whether the songs of a run are drawn at random."""
    return run.model.head.draws(1) > 0  # whether it is any number does not depend on the width


def _temperatures(run: Run, wish: Wish) -> list[float | None]:
    if not draws(run):
        return [None]
    if wish.temperatures is not None:
        return list(dict.fromkeys(wish.temperatures))
    own = run.model.head.temperature
    return [*sorted({round(own * _SHARES[0], 2), own, _SHARES[1]})]


def _common(runs: Sequence[Run]) -> list[Section]:
    """Returns the sections that all runs hold out, as tracks of the first run."""
    found, *others = ([_section(track) for track in run.held_out] for run in runs)
    for sections in others:
        pairs = [(one, other) for one in found for other in sections if one.track.hash == other.track.hash]
        overlaps = [Section(one.track, max(one[1], other[1]), min(one[2], other[2])) for one, other in pairs]
        found = [section for section in overlaps if section.start < section.stop]
    if not found:
        raise ValueError(
            f"Runs on one page must hold out music in common. Received: {', '.join(repr(run.name) for run in runs)}, "
            "which do not. Make a page for each."
        )
    return found


def _section(track: Track) -> Section:
    return Section(track, track.start / track.sample_rate, track.stop / track.sample_rate)


def _lengths(
    generators: Sequence[Generator], sections: Sequence[Section], wish: Wish
) -> tuple[float, float, list[str]]:
    """Returns the seconds of a seed and of a song, as long as the music allows, and a sentence if it does not."""
    needed = max(generator.seed_seconds for generator in generators)
    least = max(generator.encoder.span(1) / generator.sample_rate for generator in generators)
    longest = max(section.stop - section.start for section in sections)
    seed_seconds, seconds = max(wish.seed_seconds, needed), wish.seconds
    if seed_seconds + seconds <= longest:
        return seed_seconds, seconds, []
    share = min(1.0, longest / (wish.seed_seconds + wish.seconds))
    seed_seconds = min(max(wish.seed_seconds * share, needed), longest / 2)
    if seed_seconds < least:
        raise ValueError(
            f"A page needs held-out music of two frames of {least:.2f} s. Received: {longest:.2f} s. Hold out more."
        )
    seconds = min(wish.seconds, longest - seed_seconds)
    said = f"The longest held-out piece has {longest:.1f} s: seeds have {seed_seconds:.1f} s, songs {seconds:.1f} s."
    if seed_seconds < needed:
        said += f" The network reads {needed:.1f} s back, so silence stands before each seed."
    return seed_seconds, seconds, [said]


def _places(sections: Sequence[Section], count: int, seconds: float) -> list[Place]:
    """Returns up to `count` places that do not overlap, spread evenly over the sections."""
    rooms = [max(0, int((section.stop - section.start) / seconds * (1 + 1e-9))) for section in sections]
    found = []
    for number in range(min(count, sum(rooms))):
        slot = int((number + 0.5) / min(count, sum(rooms)) * sum(rooms))
        for section, room in zip(sections, rooms, strict=True):
            if slot < room:
                width = (section.stop - section.start) / room
                found.append(_place(section, section.start + slot * width + (width - seconds) / 2))
                break
            slot -= room
    return found


def _place(section: Section, seconds: float) -> Place:
    track, beat = section.track, section.track.beat
    return Place(track.name, track.hash, seconds, beat.beat_seconds if beat is not None and beat.clear else None)


def _cut(run: Run, place: Place, size: int) -> np.ndarray:
    """Returns so many samples of the held-out music of a run from a place on."""
    for track in run.held_out:
        start = round(place.seconds * track.sample_rate) - track.start
        # A place may lie half a sample outside, where another run has another sample rate.
        if track.hash == place.hash and start >= -1 and start + size <= len(track) + 1:
            start = min(max(start, 0), len(track) - size)
            return track.samples(start, start + size)
    raise ValueError(f"A place must lie in held-out music. Received: {place.seconds:.2f} s of {place.name!r}.")
