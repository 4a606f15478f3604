"""The files of a folder that hold sound, and those that look like it but are not read."""

import os
import stat
from pathlib import Path

from gruvlike.audio import _structure, _suffixes

Skipped = list[tuple[Path, str]]


def search(folder: Path, skipped: Skipped) -> list[Path]:
    """Returns the files of `folder` and below that are to be read, sorted by path.

    Args:
        folder: The folder.
        skipped: Gets (path, reason) of each file that looks like sound and is not among them, and of each folder that
            cannot be searched.
    """
    found, seen, waiting = [], set[tuple[int, int]](), [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = os.listdir(current)
        except OSError as error:
            if current == folder:
                raise
            skipped.append((current, f"the folder cannot be searched: {error.strerror or error}"))
            continue
        for path in (current / name for name in names if not name.startswith(".")):
            kind = _kind(path)
            if kind == "folder":
                waiting.append(path)
            elif kind == "sound":
                found.append(path)
            elif kind:
                skipped.append((path, kind))
        waiting.sort(reverse=True)
    skipped.sort()
    return sorted(found)


def _kind(path: Path) -> str:
    """Returns "folder", "sound", the reason why a file that looks like sound is not read, or "" for any other file."""
    suffix = path.suffix.lower()
    looks = suffix in _suffixes.SNDFILE + _suffixes.AV
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):
            return "not a regular file" if looks else ""
        if looks or (suffix not in _suffixes.UNREADABLE and _structure.is_sound(path)):
            return "sound"
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}" if looks or suffix in _suffixes.UNREADABLE else ""
    return _suffixes.UNREADABLE.get(suffix, "")
