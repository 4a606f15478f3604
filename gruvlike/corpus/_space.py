"""The space that a build needs, estimated from the headers of the files before any work is done."""

import errno
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from gruvlike.corpus import _parts

_SLOWEST = 1000  # bytes a second of the most compressed sound: bounds the length that a header claims
_USUAL = 40_000  # bytes a second of a file that libsndfile does not know: 320 kbit/s, more than most have
_SURE = 0.9  # of the estimate: lengths in headers are often estimates themselves


def size_of(source: Path) -> int:
    """Returns the size of a file; 0 if it is gone, or must not be looked at, which its reader will say."""
    try:
        return source.stat().st_size
    except OSError:
        return 0


def require(file: Path, sources: Sequence[Path], sample_rate: int, samples_at_hand: int) -> None:
    """Raises if the disk cannot hold the corpus `file` and its parts.

    Args:
        file: The corpus to write.
        sources: The files of music.
        sample_rate: Samples per second of the corpus.
        samples_at_hand: Samples of an earlier corpus that may be taken over, so that they need no part.

    Raises:
        OSError: If there is less space than they need.
    """
    free, rate = shutil.disk_usage(file.parent).free, 2 * sample_rate
    sizes = [size_of(source) for source in sources]
    if 2 * rate * sum(sizes) / _SLOWEST <= free:
        return  # enough for any music of that size
    with ThreadPoolExecutor() as pool:
        size = rate * sum(pool.map(_seconds, sources, sizes))
    needed = size + max(0, size - _parts.bytes_of(file) - 2 * samples_at_hand)
    if _SURE * needed > free:
        raise OSError(
            errno.ENOSPC,
            f"The disk must hold the corpus and, until it is complete, its parts: about {needed / 1e6:.1f} MB. "
            f"Received: {str(file)!r}, where {free / 1e6:.1f} MB are free. Free some, or write elsewhere.",
        )


def _seconds(source: Path, size: int) -> float:
    """Returns the length of a file, about."""
    try:
        info = soundfile.info(source)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError):
        return size / _USUAL
    return min(info.duration, size / _SLOWEST)
