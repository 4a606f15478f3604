"""The parser of the command line: errors in one line, an example under each command, and its defaults."""

import argparse
import textwrap
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from gruvlike.cli._console import complain

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """A parser that says an error in one line and ends with exit code 2, as the commands do."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2."""
        complain(f"error: {message}. See `{self.prog} --help`.")
        self.exit(2)


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not where there is none to speak of, and leaves options whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


def add_command(
    commands: Commands,
    run: Callable[[argparse.Namespace], int | None],
    *,
    help: str,
    example: str,
    interrupted: str = "Nothing was written.",
) -> Parser:
    """Adds a command, which has the name of the module of `run`.

    Args:
        commands: The commands of the parser.
        run: The function that gets the options.
        help: The purpose of the command, in one line.
        example: A command line, without the first word.
        interrupted: The message after Ctrl-C.
    """
    parser = commands.add_parser(
        run.__module__.rpartition(".")[2],
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"Example: gruvlike {example}",
        formatter_class=Formatter,
    )
    parser.set_defaults(command=run, interrupted=interrupted)
    return parser


def add_overwrite(parser: Parser, help: str) -> None:
    """Adds the option that lets a command replace a file."""
    parser.add_argument("--overwrite", action="store_true", help=help)
