"""The command line, `gruvlike prepare | beats | train | generate | play | listen | measure | info | doctor`.

Thin over the public API.

Each command is a file with the options and the function of that command. An error of the user's ends with exit code 2
and one line, Ctrl-C with 130, and `prepare` with 1 if it left files out. Options are checked before any file is opened,
and Keras is imported after that.
"""

import sys
from collections.abc import Sequence

import gruvlike as gl
from gruvlike.cli import beats, doctor, generate, info, listen, measure, play, prepare, train
from gruvlike.cli._console import run
from gruvlike.cli._parser import Formatter, Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after `gruvlike`. None takes those of the process.

    Returns:
        The exit code: 0, 1 if `prepare` left files out, 2 for an error of the user's, 130 after Ctrl-C.

    Example:
        >>> from gruvlike import cli
        >>> cli.main(["info", "no_such_file.keras"])
        2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    options.words = words
    return run(lambda: options.command(options), options.interrupted)


def parser() -> Parser:
    """Returns the parser of all commands."""
    made = Parser(
        prog="gruvlike",
        description="Music with recurrent networks, block by block.",
        epilog="Example: gruvlike prepare music/ music.h5 && gruvlike train music.h5 runs/a --minutes 10 && "
        "gruvlike generate runs/a seed.wav song.wav",
        formatter_class=Formatter,
    )
    made.add_argument("--version", action="version", version=f"gruvlike {gl.__version__}")
    commands = made.add_subparsers(required=True, metavar="command", parser_class=Parser)
    for command in (prepare, beats, train, generate, play, listen, measure, info, doctor):
        command.add(commands)
    return made
