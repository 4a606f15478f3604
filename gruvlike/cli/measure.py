"""`gruvlike measure`: a song is measured against real music."""

import argparse

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, add_command
from gruvlike.cli._paths import source


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        measure,
        help="measure a song against real music",
        example="measure song.wav --reference music/ --hop 4000",
    )
    parser.add_argument("song", help="audio file")
    parser.add_argument("--reference", required=True, help="music to compare with: a file, a folder or a corpus")
    parser.add_argument("--hop", type=int, default=4000, metavar="SAMPLES", help="block size of the model")
    parser.add_argument("--seed", metavar="FILE", help="the sound that the song goes on from: its rhythm, and controls")
    parser.add_argument("--bpm", type=float, help="beats a minute of the seed; without it they are found")


def measure(options: argparse.Namespace) -> None:
    """Prints the measures."""
    _checks.positive_int("hop", options.hop)
    source(options.song)
    beat_seconds = None if options.bpm is None else 60 / _checks.number("bpm", options.bpm, 6, 600)
    figures = gl.metrics.report(
        options.song, options.reference, hop=options.hop, seed=options.seed, beat_seconds=beat_seconds
    )
    say(str(figures))
