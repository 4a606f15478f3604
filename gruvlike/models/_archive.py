"""The `.keras` archive of a model, looked at before anything in it is built or believed.

A file from a stranger must not take more memory or time than an honest file of its size: members, their declared sizes
and the shapes inside them are bounded by the size of the file, and JSON has a bounded depth.
"""

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py

_DIRECTORY_BYTES = 2**20  # of the table of contents of an archive: some thousand members
_MEMBERS = 1000
_EXPANSION = 10  # a file that was compressed again grows by less
_ROOM = 2**20  # bytes that a small file may hold more
_TEXT_BYTES = {"config.json": 2**24, "metadata.json": 2**16, "training.json": 2**26}
_DEPTH = 100  # a model inside a model takes some six levels
_OBJECTS = 100_000
WEIGHTS = "model.weights.h5"
DAMAGE = (ValueError, OSError, RuntimeError, EOFError, KeyError, NotImplementedError, zlib.error, zipfile.BadZipFile)


class _Opening(io.FileIO):
    """A file of which no more than a table of contents can be read at once, as long as it is being opened."""

    limit: int | None = _DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        if self.limit is None:
            return super().read(wanted)
        if wanted < 0:  # the end of the file, where the table is looked for
            wanted = os.fstat(self.fileno()).st_size - self.tell()
        if wanted > self.limit:
            raise ValueError(f"its table of contents has more than {self.limit} bytes")
        return super().read(max(0, wanted))


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an archive whose members are few, of one name each, and not larger than the file allows.

    Raises:
        ValueError: If they are not, or this is no plain file: to open a pipe waits for somebody who writes.
        OSError: If the file cannot be read.
        BadZipFile: If it is damaged.
    """
    if not path.is_file():
        raise ValueError("it is no plain file")
    with _Opening(path, "r") as file, zipfile.ZipFile(file) as archive:
        file.limit = None
        _check_members(archive, path.stat().st_size)
        yield archive


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len(members) > _MEMBERS or len({one.filename for one in members}) < len(members):
        raise ValueError(f"it holds {len(members)} members, more than {_MEMBERS} or some twice")
    for one in members:
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or one.flag_bits & 1:
            raise ValueError(f"{one.filename!r} inside it is encrypted, or compressed in an unknown way")
        if one.file_size > _TEXT_BYTES.get(one.filename, math.inf):
            raise ValueError(f"{one.filename!r} inside it says that it has {one.file_size} bytes")
    for total, limit in (
        (sum(one.compress_size for one in members), size),
        (sum(one.file_size for one in members), _EXPANSION * size + _ROOM),
    ):
        if total > limit:
            raise ValueError(f"its members say that they have {total} bytes, in a file of {size}")


def check_whole(archive: zipfile.ZipFile, names: Iterator[str] | list[str]) -> None:
    """Reads the members once, in pieces, and raises if one does not have the checksum that it was saved with."""
    for name in names:
        with archive.open(name) as member:
            while member.read(2**20):
                pass


def read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Returns the contents of a member, a dictionary of plain data.

    Raises:
        ValueError: If it is not JSON, too deep, or no dictionary.
    """
    try:
        found = json.loads(archive.read(name))
    except RecursionError:
        raise ValueError(f"{name!r} inside it is too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} inside it holds a {type(found).__name__}, not a dictionary")
    level: list[Any] = [found]
    for _ in range(_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return found
    raise ValueError(f"{name!r} inside it is deeper than {_DEPTH} levels")


class _Window(io.RawIOBase):
    """The bytes of a member that is stored as it is, without reading it into memory."""

    def __init__(self, file: BinaryIO, start: int, size: int):
        self.file, self.start, self.size, self.at = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.start + self.at)
        found = self.file.read(max(0, min(len(buffer), self.size - self.at)))
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


def stored_numbers(archive: zipfile.ZipFile, path: Path) -> int:
    """Returns how many numbers the weights in an archive hold.

    Raises:
        ValueError: If they are damaged, or declare more than the member has bytes for.
    """
    info = archive.getinfo(WEIGHTS)
    with open(path, "rb") as file:
        source: Any = io.BytesIO(archive.read(WEIGHTS)) if info.compress_type else _Window(file, _start(file, info), 0)
        if isinstance(source, _Window):
            source.size = info.file_size
        try:
            with h5py.File(source, "r") as weights:
                numbers, size = _measured(weights)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"{WEIGHTS!r} inside it is damaged: {error}") from None
    if size > 2 * info.file_size + _ROOM:
        raise ValueError(f"{WEIGHTS!r} inside it declares weights of {size} bytes, in {info.file_size}")
    return numbers


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Returns where the bytes of a member begin: after its name and its extra field."""
    file.seek(info.header_offset + 26)
    lengths = file.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


def _measured(weights: h5py.File) -> tuple[int, int]:
    """Returns the numbers in all data sets, and their bytes."""
    numbers = size = objects = 0

    def look(name: str, found: h5py.Group | h5py.Dataset) -> None:
        nonlocal numbers, size, objects
        objects += 1
        if objects > _OBJECTS:
            raise ValueError(f"{WEIGHTS!r} inside it holds more than {_OBJECTS} objects")
        if not isinstance(found, h5py.Dataset):
            return
        if found.is_virtual or found.external or found.dtype.kind == "O":
            raise ValueError(f"{WEIGHTS!r} inside it holds no plain numbers under {name!r}")
        numbers += math.prod(found.shape)
        size += math.prod(found.shape) * found.dtype.itemsize

    weights.visititems(look)
    return numbers, size
