"""`gruvlike beats`: the tempos of a corpus, found or given."""

import argparse
from typing import TYPE_CHECKING

import gruvlike as gl
from gruvlike.cli._console import clock, say
from gruvlike.cli._parser import Commands, add_command
from gruvlike.cli._paths import source
from gruvlike.rhythm._beat import check_bpm

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus, Track


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        beats,
        help="find the tempo of each track of a corpus that has none, or set it",
        example="beats music.h5 --bpm song.ogg=120",
        interrupted="The corpus file is as it was.",
    )
    parser.add_argument("file", help="corpus")
    parser.add_argument(
        "--bpm",
        action="append",
        default=[],
        metavar="NAME=BPM",
        help="beats per minute of the track of that name; several times for several tracks",
    )


def beats(options: argparse.Namespace) -> None:
    """Adds beats to the file, and prints the tempo of each track."""
    bpm = dict(map(_given, options.bpm))
    corpus = gl.Corpus(source(options.file))
    added = corpus.add_beats(bpm)
    say(f"{options.file}: {len(added)} beats were added, {len(corpus)} tracks have one")
    for track in corpus:
        say(f"{clock(track.seconds):>8}  {tempo_of(track)}  {track.name!r}")


def _given(text: str) -> tuple[str, float]:
    name, _, bpm = text.rpartition("=")
    try:
        return name, check_bpm("--bpm", float(bpm))
    except ValueError:
        raise ValueError(
            f"`--bpm` must be the name of a track and its beats per minute, from 20 to 400. Received: {text!r}. "
            "Example: --bpm song.ogg=120."
        ) from None


def tempo_of(track: "Track") -> str:
    """Returns the tempo of a track in words of one width."""
    beat = track.beat
    words = "not sought" if beat is None else f"{beat.bpm:.1f} bpm" if beat.clear else "no clear beat"
    return f"{words:>13}"


def tempos_of(corpus: "Corpus") -> str:
    """Returns a line about the tempos of a corpus."""
    clear = [track.beat.bpm for track in corpus if track.beat is not None and track.beat.clear]
    unclear = f"no clear beat in {len(corpus) - len(clear)} of {len(corpus)} tracks"
    if not clear:
        return f"tempo: {unclear}"
    tempos = f"tempo: {min(clear):.1f} to {max(clear):.1f} beats per minute"
    return tempos if len(clear) == len(corpus) else f"{tempos}, {unclear}"
