"""Keys that are pressed while something goes on."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def pressed() -> Iterator[Callable[[], str]]:
    """Yields a function that returns, without waiting, the keys that were pressed since its last call.

    Where the input is no terminal there are none. The terminal is as before after the block.
    """
    if not sys.stdin.isatty():
        yield lambda: ""
    elif sys.platform == "win32":
        import msvcrt

        yield lambda: "".join(msvcrt.getwch() for _ in iter(msvcrt.kbhit, False))
    else:
        import select
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)

        def read() -> str:
            is_ready = select.select([terminal], [], [], 0)[0]
            return os.read(terminal, 64).decode("utf-8", "ignore") if is_ready else ""

        tty.setcbreak(terminal)
        try:
            yield read
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
