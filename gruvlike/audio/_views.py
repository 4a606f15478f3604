"""A part of a file that readers take for a file of its own, and the small pieces of bytes that are looked at."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_BLOCK = 1 << 20
_MOST = 1 << 62
_TAGS = (b"TAG", b"ID3", b"3DI", b"APETAGEX", b"LYRICSBEGIN")


class Part(NamedTuple):
    """One sound of a file: the bytes of `header`, then those of the file from `start` to `stop`.

    Attributes:
        header: Bytes in front: a header with corrected sizes, or none.
        start: The first byte of the file that follows them.
        stop: The byte after the last one.
    """

    header: bytes
    start: int
    stop: int


class Look(NamedTuple):
    """The structure of a file, as far as it is seen without decoding.

    Attributes:
        parts: The sounds in it, one after the other.
        by_name: Whether the one part is the file as it is, so that a reader can open it itself.
        promised: Bytes of sound that the header promises; `None` where it promises nothing that can be checked.
        present: Bytes of sound that are there.
        cut: Whether the file is cut off, so that they are too few.
        seconds: A length that was counted frame by frame, less the samples that a decoder may trim; 0 where none was.
        about: A length by the bytes a second that the header tells, or 0.
        damage: Where the file breaks off, in seconds, and why; `None` for a whole one.
        note: A doubt about the file that is worth a warning, or "".
    """

    parts: tuple[Part, ...]
    by_name: bool = True
    promised: int | None = None
    present: int = 0
    cut: bool = False
    seconds: float = 0.0
    about: float = 0.0
    damage: tuple[float, str] | None = None
    note: str = ""


class View(io.RawIOBase):
    """A `Part` as a file that can be read, with a position of its own."""

    def __init__(self, path: Path, part: Part):
        super().__init__()
        self._part, self._at = part, 0
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - `close` closes it

    def readable(self) -> bool:
        """Says that it can be read."""
        return True

    def seekable(self) -> bool:
        """Says that it has a position."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position."""
        size = len(self._part.header) + self._part.stop - self._part.start
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # The base class takes more kinds.
        """Reads up to as many bytes as the buffer holds."""
        header, start, stop = self._part
        if self._at < len(header):
            data = header[self._at : self._at + len(buffer)]
        else:
            place = start + self._at - len(header)
            size = max(0, min(len(buffer), stop - place))
            self._file.seek(place if size else 0)  # a header can send a reader to any place
            data = self._file.read(size) or b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


def is_tag(head: bytes) -> bool:
    """Says whether `head` begins a tag that players put in front of the sound, or behind it."""
    return head.startswith(_TAGS)


def piece(file: BinaryIO, start: int, size: int) -> bytes:
    """Returns `size` bytes of `file` from `start`; fewer at its end."""
    if not 0 <= start < _MOST or size < 0:  # a header can tell any number
        return b""
    file.seek(start)
    return file.read(size)


def blocks(file: BinaryIO, start: int, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yields (place, bytes) of large blocks from `start` to the end; each repeats the last `overlap` bytes before."""
    while block := piece(file, start, _BLOCK + overlap):
        yield start, block
        start += _BLOCK


def first_other_than_zero(file: BinaryIO, start: int, most: int | None = None) -> int | None:
    """Returns the place of the first byte from `start` that is not zero; `None` if there is none in `most` bytes."""
    for place, block in blocks(file, start):
        rest = block.lstrip(b"\0")
        if rest:
            return place + len(block) - len(rest)
        if most is not None and place - start > most:
            break
    return None
