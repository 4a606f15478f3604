"""The output of the command line and the demo, and their errors: one line with an exit code."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any


def say(text: str) -> None:
    """Writes a line, at once."""
    encoding = sys.stdout.encoding or "utf-8"  # names of files that are no UTF-8 cannot be encoded as they are
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def clock(seconds: float) -> str:
    """Returns `seconds` as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def run(command: Callable[[], int | None], interrupted: str) -> int:
    """Runs `command` and returns the exit code: its own or 0, 2 for an error of the user's, 130 after Ctrl-C.

    Args:
        command: The function to run, which may return an exit code. If it raises a KeyboardInterrupt with a message,
            that message is shown.
        interrupted: The words after Ctrl-C, where the exception has no message.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("gruvlike").setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return command() or 0
    except KeyboardInterrupt as stop:
        complain(f"interrupted. {str(stop) or interrupted}")
        return 130
    except MemoryError as error:
        complain(f"error: not enough memory. {error}")
        return 2
    # These are the errors of bad input; an ImportError says that an extra is not installed.
    except (ValueError, TypeError, OSError, ImportError) as error:
        complain(f"error: {error}")
        return 2


def complain(text: str) -> None:
    """Writes one line to the errors, whatever `text` holds."""
    sys.stderr.write(f"gruvlike: {' '.join(text.split())}\n")


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    complain(f"warning: {message}")
