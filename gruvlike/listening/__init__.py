"""A page to listen to: one HTML file with the seeds, the songs and the measures of runs, which opens without a network.

For each held-out seed it has the seed, the music that really follows, and takes of each run, with players, waveforms
and spectrograms; a blind test (which one is real?); learning curves; the measures beside those of real music, of a
frozen block and of noise; and the settings and versions of each run.
"""

import logging
import os
from collections.abc import Sequence

from gruvlike import _checks, _files
from gruvlike.listening import _measuring, _openings, _page, _sounds
from gruvlike.listening._runs import Run, read_run

__all__ = ["Run", "read_run", "write_page"]

logger = logging.getLogger(__name__)


def write_page(
    file: str | os.PathLike[str],
    runs: Sequence[Run],
    *,
    seeds: int = 3,
    seed_seconds: float = 8.0,
    seconds: float = 12.0,
    temperatures: Sequence[float] | None = None,
    random_seed: int = 0,
    most_bytes: int = 20_000_000,
) -> list[str]:
    """Writes a page about one run, or about several side by side.

    Seeds are spread evenly over the music that all runs hold out. The file is complete before it takes its name.

    Args:
        file: The HTML file to write; an earlier one is replaced.
        runs: The runs, of `read_run` or made by hand.
        seeds: How many seeds, as far as there is music.
        seed_seconds: Length of a seed, unless a network reads further back.
        seconds: Length of a song.
        temperatures: Of the takes of a head that draws. `None`: half the temperature of the head, that of the head,
            and 1.
        random_seed: Of the takes.
        most_bytes: Size of the file, at most: songs are cut, or seeds left out, to keep it.

    Returns:
        Sentences about all that is other than wished for. The page shows them, too.

    Raises:
        ValueError: If an argument is out of its range, the runs hold out no music in common or too little, or a page
            of one seed and one take would be too large.
        OSError: If the file cannot be written.

    Example:
        >>> write_page("page.html", [])
        Traceback (most recent call last):
        ValueError: A page needs a run. Received: none. ...
    """
    runs = list(runs)
    wish = _wish(runs, seeds, seed_seconds, seconds, temperatures, random_seed)
    _checks.positive_int("most_bytes", most_bytes)
    with _files.replacing(file) as temporary:  # the file must be writable before minutes are spent
        logger.info("Songs are made ...")
        openings, notes = _openings.openings_of(runs, wish)
        logger.info("Songs are measured ...")
        tables = [_measuring.table_of(run, number, openings) for number, run in enumerate(runs)]
        groups, left_out = _sounds.groups_of(openings, most_bytes)
        notes = [note for run in runs for note in run.notes] + notes + left_out
        text = _page.render(runs, groups, tables, notes).encode()
        if len(text) > most_bytes:
            raise ValueError(
                f"A page holds at most {most_bytes:,} bytes. Received: {len(text):,}, with few sounds. Give more."
            )
        temporary.write_bytes(text)
    return notes


def _wish(
    runs: Sequence[Run],
    seeds: int,
    seed_seconds: float,
    seconds: float,
    temperatures: Sequence[float] | None,
    random_seed: int,
) -> _openings.Wish:
    """Returns checked wishes."""
    if not runs:
        raise ValueError("A page needs a run. Received: none. Give `read_run(...)` of a run folder.")
    if temperatures is not None:
        temperatures = _checks.several("temperatures", temperatures, lambda one: _checks.number("temperatures", one, 0))
        if not temperatures or not any(map(_openings.draws, runs)):
            raise ValueError(
                f"`temperatures` are for heads that draw, one or more. Received: temperatures={temperatures!r}, runs "
                f"{', '.join(repr(run.name) for run in runs)}. Leave them out."
            )
    return _openings.Wish(
        _checks.positive_int("seeds", seeds),
        _checks.number("seed_seconds", seed_seconds, 0, open_low=True),
        _checks.number("seconds", seconds, 0, open_low=True),
        temperatures,
        _checks.positive_int("random_seed", random_seed, minimum=0),
    )
