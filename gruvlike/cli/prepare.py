"""`gruvlike prepare`: a folder of music becomes a corpus."""

import argparse

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import clock, say
from gruvlike.cli._parser import Commands, add_command, add_overwrite
from gruvlike.cli._paths import target
from gruvlike.cli.beats import tempos_of


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        prepare,
        help="turn a folder of music into a corpus, one HDF5 file",
        example="prepare music/ music.h5",
        interrupted="The corpus file is as it was; the same command goes on from here.",
    )
    parser.add_argument("music", help="folder of music, or one file")
    parser.add_argument("file", help="corpus to write, such as music.h5")
    parser.add_argument(
        "--sample-rate", type=int, default=16_000, metavar="HZ", help="of the corpus; the paper's is 44100"
    )
    parser.add_argument(
        "--high-pass-hz", type=float, default=20.0, metavar="HZ", help="removes what is below; 0 keeps it"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first file that cannot be used")
    add_overwrite(parser, "replace an existing corpus; tracks that have not changed are taken over from it")


def prepare(options: argparse.Namespace) -> int:
    """Builds the corpus. The exit code is 1 if files were left out; a warning lists them."""
    rate = _checks.positive_int("sample_rate", options.sample_rate)
    high_pass_hz = _checks.number("high_pass_hz", options.high_pass_hz, 0, rate * 0.499) or None
    file = target(options.file, options.overwrite)
    corpus = gl.Corpus.build(options.music, file, sample_rate=rate, high_pass_hz=high_pass_hz, strict=options.strict)
    left_out = f"; {len(corpus.skipped)} files left out" if corpus.skipped else ""
    say(
        f"{file}: {len(corpus)} tracks, {clock(corpus.seconds)}, {corpus.sample_rate} Hz; {tempos_of(corpus)}{left_out}"
    )
    return 1 if corpus.skipped else 0
