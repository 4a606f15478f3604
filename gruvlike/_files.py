"""Files that are written completely or not at all, and locks that end with their process.

A file is made in a working folder beside its target, which the writer holds locked. A writer that is killed leaves that
folder; the system frees its lock, and the next writer in the same place removes it.
"""

import errno
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

_MARK = ".gruvlike-tmp"
# A working folder by its name: of the target, eight characters that `tempfile` draws, the mark.
_WORKING_FOLDER = re.compile(r"\..*\.[a-z0-9_]{8}" + re.escape(_MARK), re.DOTALL)
_TRIES = 100
_IDLE_SECONDS = 86_400  # where the system has no locks, no writer leaves its file untouched for so long


@contextmanager
def replacing(path: str | os.PathLike, sync: bool = False, sweep_first: bool = True) -> Iterator[Path]:
    """Yields a temporary path; the file written there replaces `path` when the block ends without error.

    An earlier file at `path` is never damaged: the new file is complete before it takes the name. After an error the
    temporary file is removed; after a kill, the next call in the same folder removes it.

    Args:
        path: The file to write.
        sync: Whether the file is on the disk, not only in the memory of the system, before it takes the name. So a
            power cut leaves no name without content.
        sweep_first: Whether `sweep` is called first. Who writes many files into a folder calls it once instead.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"A file cannot be written over a folder. Received: {str(path)!r}. Give a file name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder to write in must exist. Received: {str(path)!r}. Make {str(path.parent)!r} first."
        )
    if sweep_first:
        sweep(path.parent)
    temporary = None
    try:
        with _working_folder(path) as folder:
            temporary = folder / f"new{path.suffix}"
            yield temporary
            if path.exists():
                os.chmod(temporary, path.stat().st_mode & 0o777)
            if sync:
                _sync(temporary)
            os.replace(temporary, path)
    except OSError as error:
        # The system names no file when a disk is full, and the name of the temporary file tells nobody anything.
        if error.errno and error.filename in (None, temporary and str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def sweep(folder: Path) -> None:
    """Removes the working folders of writers that were killed, and nothing else."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _WORKING_FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


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


@contextmanager
def _working_folder(path: Path) -> Iterator[Path]:
    """Makes a folder beside `path` and holds it locked; it is removed with all in it at the end."""
    folder, handle = _new_folder(path)
    try:
        yield folder
    finally:
        _remove(folder)
        if handle is not None:
            os.close(handle)


def _new_folder(path: Path) -> tuple[Path, int | None]:
    """Makes a folder beside `path` and locks it; returns it with the handle of the lock."""
    for _ in range(_TRIES):
        try:
            folder = Path(tempfile.mkdtemp(_MARK, f".{path.name[:40]}.", path.parent))
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0)) from error  # the folder's name is no help
        with suppress(BlockingIOError, FileNotFoundError):  # another writer took it, not yet locked, for a left one
            return folder, _hold(folder)
    raise BlockingIOError(errno.EAGAIN, "Other writers remove what is written here again and again")


def _hold(folder: Path) -> int | None:
    """Locks a folder and returns the handle that holds the lock; `None` where the system cannot lock folders.

    Raises:
        BlockingIOError: If another writer holds it.
        FileNotFoundError: If it was removed.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(folder)):
            return handle
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    except (BlockingIOError, FileNotFoundError):
        os.close(handle)
        raise
    except OSError:  # a network file system
        os.close(handle)
        return None


def _remove_if_left(folder: Path) -> None:
    """Removes a working folder whose writer is dead."""
    with suppress(OSError):  # somebody writes there, or was quicker, or it belongs to another user
        handle = _hold(folder)
        try:
            if handle is not None or time.time() - _last_change(folder) > _IDLE_SECONDS:
                _remove(folder)
        finally:
            if handle is not None:
                os.close(handle)


def _last_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


def _remove(folder: Path) -> None:
    """Removes a working folder, the files in it, and the working folders of writers that wrote there."""
    with suppress(OSError):  # some systems do not remove a file that is open; a later writer does
        for path in folder.iterdir():
            if _WORKING_FOLDER.fullmatch(path.name) and not path.is_symlink() and path.is_dir():
                _remove(path)
            else:
                path.unlink()
        folder.rmdir()


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
                raise
