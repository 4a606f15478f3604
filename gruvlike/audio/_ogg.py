"""The pages of an Ogg file: each carries a checksum and a number, so a hole or a missing end can be seen."""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from gruvlike.audio._views import Look, Part, blocks, first_other_than_zero, is_tag, piece

_CAPTURE = b"OggS"
_HEAD = struct.Struct("<4xBBqIIIB")
_CHECKSUM_AT = 22
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _Stream:
    """One stream of pages: the number of the last one, and how far the sound has come."""

    rate: int
    number: int
    first: int | None = None  # the granule, which is the sample at the end of a page
    granule: int = 0
    ended: bool = False

    def seconds(self) -> float:
        return max(self.granule - (self.first or 0), 0) / self.rate if self.rate else 0.0


def look(file: BinaryIO, start: int, size: int) -> Look | None:
    """Returns the structure of an Ogg file: a part for each of the files that stand end to end in it."""
    if piece(file, start, 4) != _CAPTURE:
        return None
    links, streams, before = [start], dict[int, _Stream](), 0.0
    position, damage = start, None
    while position < size and damage is None:
        page, damage = _page(file, position)
        if damage is None:
            _, flags, granule, serial, number, checksum, count = _HEAD.unpack(page[:27])
            if flags & 2 and any(stream.first is not None for stream in streams.values()):
                before += _seconds(streams)
                links, streams = [*links, position], {}
            stream = streams.setdefault(serial, _Stream(_rate(page[27 + count :]), number - 1))
            damage = _fault(page, checksum, stream, number)
        if damage is None:
            _advance(stream, granule, number, bool(flags & 4))
            position += len(page)
    damage = damage or None  # "" stands for the end
    here = before + _seconds(streams)
    parts = tuple(Part(b"", a, b) for a, b in zip(links, [*links[1:], position], strict=True))
    look = Look(parts, by_name=len(links) == 1 and start == 0 and position == size)
    if damage:
        return look._replace(damage=(here, damage))
    ended = all(stream.ended for stream in streams.values() if stream.rate)
    return look if ended else look._replace(note=f"ends after {here:.2f} s without the mark of an end: is it cut off?")


def _page(file: BinaryIO, position: int) -> tuple[bytes, str | None]:
    """Returns a page, and the reason why it is none; "" where only zeros or a tag are left."""
    head = piece(file, position, 27)
    if head[:4] != _CAPTURE:
        return b"", "" if _is_rest(file, position) else "bytes that belong to no page follow"
    lacing = piece(file, position + 27, head[26] if len(head) == 27 else 0)
    page = head + lacing + piece(file, position + 27 + len(lacing), sum(lacing))
    is_whole = len(head) == 27 and len(lacing) == head[26] and len(page) == 27 + len(lacing) + sum(lacing)
    return page, None if is_whole else "its last page is not complete"


def _advance(stream: _Stream, granule: int, number: int, ended: bool) -> None:
    if granule > 0:
        # A recorded radio stream begins where the radio was: the numbers of its pages jump behind the header.
        begin = 0 if number == stream.number + 1 else granule
        stream.first = begin if stream.first is None else stream.first
        stream.granule = granule
    stream.number, stream.ended = number, ended


def _fault(page: bytes, checksum: int, stream: _Stream, number: int) -> str | None:
    if _checksum(page) != checksum:
        return f"page {number} is damaged"
    # The numbers of a recorded radio stream go on from where the radio was, behind the header.
    if stream.first is not None and number != stream.number + 1:
        return f"page {number} follows page {stream.number}"
    return None


def _checksum(page: bytes) -> int:
    """Returns the checksum of a page: that of zlib with the bits of each byte, and of the result, in reverse."""
    blank = page[:_CHECKSUM_AT] + bytes(4) + page[_CHECKSUM_AT + 4 :]
    mirrored = zlib.crc32(blank.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "big").translate(_MIRRORED), "little")


def _rate(packet: bytes) -> int:
    """Returns the granules a second that the first packet of a stream tells; 0 for one without sound."""
    if packet[:8] == b"OpusHead":
        return 48_000
    if packet[:7] == b"\x01vorbis":
        return int.from_bytes(packet[12:16], "little")
    if packet[:5] == b"\x7fFLAC":
        return int.from_bytes(packet[27:30], "big") >> 4
    return int.from_bytes(packet[36:40], "little") if packet[:8] == b"Speex   " else 0


def _seconds(streams: dict[int, _Stream]) -> float:
    return max((stream.seconds() for stream in streams.values()), default=0.0)


def _is_rest(file: BinaryIO, position: int) -> bool:
    """Says whether nothing but zeros, or a tag, follow."""
    other = first_other_than_zero(file, position)
    if other is None or is_tag(piece(file, position, 12)) or is_tag(piece(file, other, 12)):
        return all(_CAPTURE not in block for _, block in blocks(file, position, 3))
    return False
