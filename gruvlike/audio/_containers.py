"""The sizes in the headers of files that hold their sound in one piece, compared with the bytes that are there.

A recorder that was switched off leaves a length of 0, one that passed 4 GiB a length that is too small, and a download
that stopped a length that is too large. Readers believe the header, so it is corrected where only samples can be meant.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from gruvlike.audio import _framing
from gruvlike.audio._views import Look, Part, first_other_than_zero, is_tag, piece

_UNKNOWN = 0x7FFF0000  # 32-bit lengths from here on that the file has not are those of a sound written to a pipe
_MOST_32 = 0xFFFFFFF0
_SEGMENT = 1 << 30  # bytes of a part where the header cannot say the whole length
_KNOWN_CHUNKS = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"iXML",
    b"axml",
    b"cue ",
    b"smpl",
    b"PEAK",
    b"JUNK",
    b"ANNO",
    b"FLLR",
)
_LEAST_BEFORE, _MOST_BEFORE = 24, 4096  # bytes in front of the samples of an AU file that need no word
_LEAST_CUT = 64  # bytes that may lack without a refusal
_LEAST_REST = 16  # bytes behind the sound that are not worth a word


class _Layout(NamedTuple):
    """How a container names its chunks: a name, a size, and the body.

    Attributes:
        first: Bytes before the first chunk.
        name_size: Bytes of a name.
        size: The format of a size, as `struct` names it.
        counted: Bytes of the chunk's own header that its size counts.
        align: Chunks begin at multiples of it.
        data: The name of the chunk with the samples.
        before: Bytes of that chunk in front of the samples.
        outer: The place and format of the size of all chunks together.
    """

    first: int
    name_size: int
    size: str
    counted: int
    align: int
    data: bytes
    before: int
    outer: tuple[int, str] | None


class _Chunk(NamedTuple):
    name: bytes
    size_at: int
    body: int
    size: int


class _Data(NamedTuple):
    """The samples by the header: their place and bytes, the place and format of that size, and the format chunk."""

    samples_at: int
    promised: int
    field: tuple[int, str]
    form: bytes


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_RIFF = _Layout(12, 4, "<I", 0, 2, b"data", 0, (4, "<I"))
_LAYOUTS = {
    b"RIFF": _RIFF,
    b"RF64": _RIFF,
    b"BW64": _RIFF,
    b"RIFX": _Layout(12, 4, ">I", 0, 2, b"data", 0, (4, ">I")),
    b"FORM": _Layout(12, 4, ">I", 0, 2, b"SSND", 8, (4, ">I")),
    b"riff": _Layout(40, 16, "<Q", 24, 8, _W64_DATA, 0, (16, "<Q")),
    b"caff": _Layout(8, 4, ">q", 0, 1, b"data", 4, None),
}
_MPEG_IN_WAV, _PCM_IN_WAV = (0x50, 0x55), (1, 3, 0xFFFE)
_FORMS = (b"WAVE", b"AIFF", b"AIFC")
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"udta", b"meta", b"sidx", b"styp", b"uuid")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_EBML, _SEGMENT_OF_EBML = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def look(file: BinaryIO, start: int, size: int) -> Look | None:
    """Returns the structure of a container from `start`, whose file has `size` bytes; `None` for another format."""
    head = piece(file, start, 16)
    layout = _LAYOUTS.get(head[:4])
    if layout and (head[:4] in (b"riff", b"caff") or head[8:12] in _FORMS):
        return _chunked(file, start, size, layout)
    if head[:4] in (b".snd", b"dns."):
        return _sun(file, start, size, ">" if head[:4] == b".snd" else "<")
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    for is_one, sized in ((is_avi, _avi), (head[4:8] in _BOXES, _boxes), (head == _ASF_HEADER, _asf)):
        if is_one:
            promised, end = sized(file, start, size)
            rest = first_other_than_zero(file, end) if end < size else size
            stop = end if rest is None or is_tag(piece(file, rest, 12)) else size
            whole = Look((Part(b"", start, stop),), start == 0 and stop == size)
            return whole._replace(promised=promised, present=size - start, cut=True) if promised else whole
    return _matroska(file, start, size) if head[:4] == _EBML else None


def _chunks(file: BinaryIO, position: int, size: int, layout: _Layout) -> Iterator[_Chunk]:
    width = struct.calcsize(layout.size)
    while position + layout.name_size + width <= size:
        head = piece(file, position, layout.name_size + width)
        (length,) = struct.unpack(layout.size, head[layout.name_size :])
        body = position + len(head)
        chunk = _Chunk(head[: layout.name_size], position + layout.name_size, body, length - layout.counted)
        yield chunk
        if chunk.size < 0:
            return
        position = body + -(-chunk.size // layout.align) * layout.align


def _chunked(file: BinaryIO, start: int, size: int, layout: _Layout) -> Look:
    """Returns the structure of a container whose samples are the body of one chunk."""
    all_of_it = Look((Part(b"", start, size),), start == 0)
    data = _data_of(file, start, size, layout)
    if data is None:
        return all_of_it
    found = _compared(file, data.samples_at, data.promised, size, layout)
    if found is None:
        stop = min(data.samples_at + data.promised, size) if data.promised > 0 else size
        last = _before_rest(file, stop, size, layout)
        whole = all_of_it if last == size else Look((Part(b"", start, last),), by_name=False)
        return _with_length(file, whole, data, stop, layout)
    stop, promised = found
    if stop > size:
        return all_of_it._replace(promised=data.promised, present=max(size - data.samples_at, 0), cut=True)
    if stop < size:  # another file begins behind this one
        behind = look(file, _next(stop, layout), size)
        if behind:
            own = Part(b"", start, _next(stop, layout))
            return behind._replace(parts=(own, *behind.parts), by_name=False)
    corrected = Look(_corrected(file, start, stop, layout, data), False, promised, stop - data.samples_at)
    return _with_length(file, corrected, data, stop, layout)


def _data_of(file: BinaryIO, start: int, size: int, layout: _Layout) -> _Data | None:
    """Returns where the samples are, by the header; `None` if it does not come to that."""
    form, long = b"", None
    for chunk in _chunks(file, start + layout.first, size, layout):
        if chunk.name == b"ds64":  # RF64 has the size here that 32 bits cannot hold
            long = struct.unpack("<Q", piece(file, chunk.body + 8, 8).ljust(8, b"\0"))[0], (chunk.body + 8, "<Q")
        if chunk.name[:4] in (b"fmt ", b"COMM"):
            form = piece(file, chunk.body, 20).ljust(20, b"\0")
        if chunk.name == layout.data:
            told = chunk.size - layout.before, (chunk.size_at, layout.size)
            promised, field = long if long and chunk.size == 0xFFFFFFFF else told
            return _Data(chunk.body + layout.before, promised, field, form)
    return None


def _with_length(file: BinaryIO, look: Look, data: _Data, stop: int, layout: _Layout) -> Look:
    """Adds the length by other numbers of the header: of frames, or of bytes a second, or of frames of MP3."""
    if not data.form:
        return look
    if layout.data == b"SSND":
        frames, exponent, mantissa = struct.unpack(">2xI2xHQ", data.form[:18])
        rate = mantissa * 2.0 ** (min(exponent & 0x7FFF, 16_500) - 16_446)
        return look._replace(about=frames / rate if rate else 0.0)
    codec, byte_rate = struct.unpack(layout.size[0] + "H6xI8x", data.form)
    if codec in _PCM_IN_WAV and byte_rate:
        return look._replace(about=(stop - data.samples_at) / byte_rate)
    inner = _framing.look(file, data.samples_at, stop) if codec in _MPEG_IN_WAV else None
    return look._replace(seconds=inner.seconds, note=inner.note) if inner else look


def _compared(
    file: BinaryIO, samples_at: int, promised: int, size: int, layout: _Layout
) -> tuple[int, int | None] | None:
    """Returns where the samples stop, and how many bytes were promised; `None` where the header is right."""
    present = size - samples_at
    wide = layout.size != "<I" and layout.size != ">I"
    if promised > present:
        if promised < 0 or promised >= (1 << 62 if wide else _UNKNOWN):
            return None if wide else (size, None)
        if promised - present <= max(samples_at, _LEAST_CUT):  # the header was counted as sound
            return (size, promised) if present > 0 else None
        return samples_at + promised, promised
    if promised < 0 and layout.counted == 0:
        return None
    stop = samples_at + max(promised, 0)
    if _is_rest(file, stop, size, layout):
        return None
    head = piece(file, _next(stop, layout), 12)
    if head[:4] in _LAYOUTS and head[8:12] in _FORMS:
        return stop, promised
    return size, max(promised, 0)


def _corrected(file: BinaryIO, start: int, stop: int, layout: _Layout, data: _Data) -> tuple[Part, ...]:
    """Returns the parts of the samples up to `stop`, with the right sizes in the header of each."""
    length = stop - data.samples_at
    at, form = data.field
    if length > _MOST_32 and form in ("<I", ">I"):
        frame = _frame_size(data.form, layout) if data.form else 1
        length = _SEGMENT // frame * frame
    parts = []
    for first in range(data.samples_at, stop, max(length, 1)):
        size = min(length, stop - first)
        header = bytearray(piece(file, start, data.samples_at - start))
        struct.pack_into(form, header, at - start, size + layout.before + layout.counted)
        if layout.outer:
            everything = len(header) + size - (0 if layout.counted else 8)
            struct.pack_into(layout.outer[1], header, layout.outer[0], everything)
        parts.append(Part(bytes(header), first, first + size))
    return tuple(parts)


def _frame_size(body: bytes, layout: _Layout) -> int:
    """Returns the bytes of one frame of all channels; parts must not end within one."""
    if layout.data == b"SSND":
        channels, _, bits = struct.unpack(">hIh", body[:8])
        return max(channels * -(-bits // 8), 1)
    return max(struct.unpack(layout.size[0] + "H", body[12:14])[0], 1)


def _next(stop: int, layout: _Layout) -> int:
    return -(-stop // layout.align) * layout.align


def _is_rest(file: BinaryIO, stop: int, size: int, layout: _Layout) -> bool:
    """Says whether nothing but chunks, tags and zeros follow from `stop`."""
    if size - stop <= _LEAST_REST:
        return True
    other = first_other_than_zero(file, stop)
    return other is None or any(_are_chunks(file, place, size, layout) for place in (stop, _next(stop, layout), other))


def _before_rest(file: BinaryIO, stop: int, size: int, layout: _Layout) -> int:
    """Returns the end of a file without the tags and zeros behind its samples, which some decoders take for sound."""
    end = _next(stop, layout)
    if not 0 < stop < size or _is_chunk(file, end, size, layout) or _is_chunk(file, stop, size, layout):
        return size
    return min(end, size)


def _is_chunk(file: BinaryIO, position: int, size: int, layout: _Layout) -> bool:
    return position >= size or not (is_tag(piece(file, position, 12)) or piece(file, position, 1) == b"\0")


def _are_chunks(file: BinaryIO, position: int, size: int, layout: _Layout) -> bool:
    if is_tag(piece(file, position, 12)):
        return True
    end = position
    for chunk in _chunks(file, position, size, layout):
        if chunk.name[:4] in _LAYOUTS or chunk.size < 0 or not all(32 <= byte < 127 for byte in chunk.name[:4]):
            break
        if chunk.body + chunk.size > size + 1:
            return chunk.name in _KNOWN_CHUNKS
        end = chunk.body + chunk.size
        if is_tag(piece(file, end, 12)):
            return True
    return end > position and size - end <= _LEAST_REST


def _sun(file: BinaryIO, start: int, size: int, order: str) -> Look:
    """Returns the structure of an AU file, whose header is followed by samples alone."""
    told, promised = struct.unpack(order + "2I", piece(file, start, 12)[4:].ljust(8, b"\0"))
    offset = max(told, _LEAST_BEFORE)
    strange = not told == offset <= _MOST_BEFORE
    note = f"its header says that the sound begins after {told} bytes" if strange else ""
    all_of_it = Look((Part(b"", start, size),), start == 0, note=note)
    samples_at, layout = start + offset, _Layout(0, 4, order + "I", 0, 1, b"", 0, None)
    found = _compared(file, samples_at, promised, size, layout) if samples_at < size else None
    if found is None and told == offset:
        return all_of_it
    stop, said = found or (size, None)
    if stop > size:
        return all_of_it._replace(promised=said, present=size - samples_at, cut=True)
    length = min(stop - samples_at, _MOST_32)
    header = piece(file, start, 4) + struct.pack(order + "2I", offset, length) + piece(file, start + 12, offset - 12)
    return Look((Part(header, samples_at, samples_at + length),), False, said, length, note=note)


def _boxes(file: BinaryIO, start: int, size: int) -> tuple[int | None, int]:
    """Returns the bytes that an MP4 file should have if it is cut off, else `None`, and the end of its last box."""
    position = start
    while position + 8 <= size:
        length, name, long = struct.unpack(">I4sQ", piece(file, position, 16).ljust(16, b"\0"))
        length = {0: size - position, 1: long}.get(length, length)
        if name not in _BOXES or length < 8:
            break
        if position + length > size:
            return position + length - start, size
        position += length
    return None, position


def _avi(file: BinaryIO, start: int, size: int) -> tuple[int | None, int]:
    end = start
    for chunk in _chunks(file, start, size, _RIFF):  # long files have more than one
        if chunk.name != b"RIFF" or chunk.size >= _UNKNOWN:
            break
        if chunk.body + chunk.size > size:
            return chunk.body + chunk.size - start, size
        end = chunk.body + chunk.size
    return None, end if end > start else size


def _asf(file: BinaryIO, start: int, size: int) -> tuple[int | None, int]:
    layout = _Layout(0, 16, "<Q", 24, 1, _ASF_DATA, 0, None)
    for chunk in _chunks(file, start, size, layout):
        end = chunk.body + chunk.size
        if chunk.name == _ASF_DATA:
            return (end - start, size) if size < end < 1 << 62 else (None, end if end <= size else size)
    return None, size


def _matroska(file: BinaryIO, start: int, size: int) -> Look:
    whole = Look((Part(b"", start, size),), start == 0)
    head = piece(file, start, 4096)
    length, position = _vint(head, 4)
    position += length or 0
    if head[position : position + 4] != _SEGMENT_OF_EBML:
        return whole
    length, position = _vint(head, position + 4)
    is_cut = length is not None and start + position + length > size
    return whole._replace(promised=length, present=size - start - position, cut=True) if is_cut else whole


def _vint(data: bytes, position: int) -> tuple[int | None, int]:
    """Returns a number of EBML, `None` for an unknown one, and the place behind it."""
    width = 9 - data[position].bit_length() if position < len(data) and data[position] else 1
    value = int.from_bytes(data[position : position + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), position + width
