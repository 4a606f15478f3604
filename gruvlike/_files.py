"""Files that are written completely or not at all, and locks that end with their process."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; the file written there replaces `path` when the block ends without error.

    An earlier file at `path` is never damaged: the new file is complete before it takes the name. After an error the
    temporary file is removed.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"A file cannot be written over a folder. Received: {str(path)!r}. Give a file name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder to write in must exist. Received: {str(path)!r}. Make {str(path.parent)!r} first."
        )
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename is None:  # the system names no file when a disk is full
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike, rule: str) -> Iterator[None]:
    """Holds a lock on the file `path` during the block, or raises with `rule` as the message if another holder has it.

    The system frees the lock when the process ends, also when the process is killed. On a file system without locks a
    warning is logged, and nothing is held.
    """
    import filelock  # imported here because only writers need it

    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(rule) from None
    except (OSError, NotImplementedError) as error:
        logger.warning("No lock in %r (%s): see to it that one process alone writes there.", str(path), error)
    try:
        yield
    finally:
        lock.release()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
