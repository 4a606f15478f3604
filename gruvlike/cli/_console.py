"""What the command line and the demo share: their own output, and errors as one line with an exit code."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any


def say(text: str) -> None:
    """Writes a line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clock(seconds: float) -> str:
    """Returns `seconds` as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def run(command: Callable[[], None], interrupted: str) -> int:
    """Runs `command` and returns the exit code: 0, 2 for an error of the user's, 130 after Ctrl-C.

    Args:
        command: What to run. The message of a KeyboardInterrupt that it raises itself is shown.
        interrupted: What to say after Ctrl-C where that has no message.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("gruvlike").setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command()
    except KeyboardInterrupt as stop:
        _complain(f"interrupted. {str(stop) or interrupted}")
        return 130
    except MemoryError as error:
        _complain(f"error: not enough memory. {error}")
        return 2
    # What the library raises for bad input; ImportError where an extra is not installed.
    except (ValueError, TypeError, OSError, ImportError) as error:
        _complain(f"error: {error}")
        return 2
    return 0


def _complain(text: str) -> None:
    """One line, whatever `text` holds."""
    sys.stderr.write(f"gruvlike: {' '.join(text.split())}\n")


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    _complain(f"warning: {message}")
