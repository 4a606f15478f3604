"""Validators at the door: each states the rule, what was received and what to do."""

import logging
import math
import numbers
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)


def positive_int(name: str, value: Any, minimum: int = 1) -> int:
    """Returns `value` as an int, or raises if it is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        rule = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}.")
    return int(value)


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, open_low: bool = False) -> float:
    """Returns `value` as a float, or raises if it is not finite and in [low, high] (`open_low`: low excluded)."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"`{name}` must be a finite number in {bracket}{low}, {high}]. Received: {name}={value!r}.")
    return float(value)


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    """Returns `value`, or raises if it is not one of `options`."""
    if value not in options:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, options))}. Received: {name}={value!r}.")
    return value


def mono(name: str, samples: Any) -> np.ndarray:
    """Returns `samples` as float32 of shape (S,), or raises if they are not one-dimensional, finite and not empty."""
    array = np.asarray(samples)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{name}` must be mono samples of shape (S,), S > 0. Received: shape={array.shape}. "
            "Mix the channels down first (`gruvlike.audio.read` does)."
        )
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32768)
    if array.dtype.kind != "f":
        raise ValueError(f"`{name}` must be float samples in [-1, 1] or int16 PCM. Received: dtype={array.dtype}.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite. Received: {int((~np.isfinite(array)).sum())} NaN or infinite samples."
        )
    return array.astype(np.float32, copy=False)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary name beside `path` that takes the place of `path` only when the block ends well.

    What stood under `path` is never damaged: the new file is complete before it takes the name.
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
        if error.errno and error.filename is None:  # a full disk does not say which, and HDF5 says too much
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike, rule: str) -> Iterator[None]:
    """Holds a lock in the file `path` during the block, or raises with `rule` if another holder has it.

    The system frees the lock when its process ends, however it ends: what was killed blocks nobody. Where a file system
    knows no locks, a warning says so, and nothing is held.
    """
    import filelock  # here: nobody needs it who only looks

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
