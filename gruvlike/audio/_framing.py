"""The frames of MP3, MP2 and AAC files, which have no length of their own, and of FLAC files.

The frames of an MP3 or AAC file are counted from header to header, without decoding, so that a length in a header,
which is often an estimate, can be compared with the frames that are there.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from gruvlike.audio._views import Look, Part, blocks, first_other_than_zero, is_tag, piece

_MPEG_RATES = (44_100, 48_000, 32_000)
_MPEG_KBITS = {  # (is MPEG-1, layer): kilobits a second by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350)
_AC3_RATES = (48_000, 44_100, 32_000)
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_BLOCKS = (1, 2, 3, 6)
_SYNCS = (b"\xff", b"\x0bw")  # the first bytes of a frame
_AMR = {b"#!AMR\n": (12, 13, 15, 17, 19, 20, 26, 31, 5), b"#!AMR-WB\n": (17, 23, 32, 36, 40, 46, 50, 58, 60, 5)}
_SEARCHED = 1 << 16  # bytes in front of the first frame that are searched for it
_LEAST_ZEROS = 1024  # bytes behind the frames that are worth a word
_LEAST_HOLE = 4  # bytes between frames that are not worth a word


class Frame(NamedTuple):
    """The header of a frame: its bytes, its samples at a rate, and the kind that all frames of a stream share."""

    size: int
    samples: int
    rate: int
    kind: tuple[int, int]


class _Count(NamedTuple):
    """The frames of a file: their seconds and bytes, their end, each hole (place, seconds), if the last one is cut."""

    seconds: float
    covered: int
    stop: int
    holes: list[tuple[float, float]]
    cut: bool


def header(data: bytes, at: int = 0) -> Frame | None:
    """Reads the header of a frame of MPEG audio, layer 1 to 3, of AAC in ADTS, or of AC-3; `None` if there is none."""
    if data[at : at + 2] == _SYNCS[1] and len(data) >= at + 6:
        return _ac3(data[at : at + 6])
    if len(data) < at + 6 or data[at] != 0xFF or data[at + 1] < 0xE0:
        return None
    second, third = data[at + 1], data[at + 2]
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    if layer == 4:
        return _adts(data, at) if second & 0xF0 == 0xF0 else None
    first = version == 3
    index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    if version == 1 or index in (0, 15) or rate_index == 3:
        return None
    rate = _MPEG_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _MPEG_KBITS[first, layer][index]
    samples = {1: 384, 2: 1152, 3: 1152 if first else 576}[layer]
    size = (12 * bits // rate + padding) * 4 if layer == 1 else samples // 8 * bits // rate + padding
    return Frame(size, samples, rate, (layer, 0))


def _adts(data: bytes, at: int) -> Frame | None:
    index = data[at + 2] >> 2 & 15
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    count = (data[at + 6] & 3) + 1 if len(data) > at + 6 else 1
    if index >= len(_AAC_RATES) or size < 7:
        return None
    return Frame(size, 1024 * count, _AAC_RATES[index], (4, 0))


def _ac3(data: bytes) -> Frame | None:
    rate, code, newer = data[4] >> 6, data[4] & 63, data[5] >> 3 > 10
    if newer:  # E-AC-3
        blocks_of = 6 if rate == 3 else _AC3_BLOCKS[data[4] >> 4 & 3]
        hz = _AC3_RATES[data[4] >> 4 & 3] // 2 if rate == 3 and data[4] >> 4 & 3 < 3 else _AC3_RATES[rate % 3]
        dependent = data[2] >> 6 == 1  # more channels of the frame before
        return Frame(2 * (((data[2] & 7) << 8 | data[3]) + 1), 0 if dependent else 256 * blocks_of, hz, (5, 1))
    if rate == 3 or code >= 2 * len(_AC3_KBITS):
        return None
    words = _AC3_KBITS[code // 2] * 96_000 // _AC3_RATES[rate]
    return Frame(2 * (words + (code & 1 if rate == 1 else 0)), 1536, _AC3_RATES[rate], (5, 0))


def look(file: BinaryIO, start: int, size: int) -> Look | None:
    """Returns the structure of an MP3, MP2, AAC or AC-3 file; `None` for another format."""
    near = min(size, start + _SEARCHED)
    first = next((at for sync in _SYNCS if (at := _next_frame(file, start, near, sync)) is not None), None)
    if first is None:
        return None
    count = _count(file, first, size)
    one = header(piece(file, first, 7))
    if one is None or count.covered < (size - start) / 8:  # two headers can stand in anything by chance
        return None
    promised, trimmed, is_header = _xing(piece(file, first, 200), one)
    frame_seconds = one.samples / one.rate
    seconds = count.seconds - is_header * frame_seconds
    least = seconds - frame_seconds - trimmed / one.rate
    if first - start > _LEAST_HOLE:
        count.holes.insert(0, (0.0, (first - start) * seconds / max(count.covered, 1)))
    zeros = piece(file, count.stop, min(_LEAST_ZEROS, size - count.stop)) == bytes(_LEAST_ZEROS)
    note = _note(count, seconds, promised * frame_seconds, frame_seconds, zeros)
    # libsndfile and PyAV know a tag in front of MP3, and behind it. Zeros behind the frames are too much for them.
    plain = one.kind[0] < 4 and piece(file, count.stop, 1) != b"\0"
    by_name = plain and (first == 0 or piece(file, 0, 3) == b"ID3")
    part = Part(b"", 0 if by_name else first, size if plain else count.stop)
    return Look((part,), by_name, seconds=max(least, 0.0), note=note)


def _note(count: _Count, seconds: float, promised: float, frame_seconds: float, zeros: bool) -> str:
    """Returns the doubts about a file of frames.

    Args:
        count: Its frames.
        seconds: Their length.
        promised: The length that a header promises, or 0.
        frame_seconds: The length of a frame.
        zeros: Whether zeros follow, as in a download that stopped.
    """
    notes = [f"is damaged after {at:.2f} s, where {lost:.2f} s or more are missing" for at, lost in count.holes]
    if promised > seconds + 1.5 * frame_seconds:
        notes.append(f"its header promises {promised:.2f} s, {seconds:.2f} s are there")
    elif zeros and not promised:
        notes.append(f"ends after {seconds:.2f} s, and zeros follow: is it cut off?")
    elif count.cut and not promised:
        notes.append(f"ends after {seconds:.2f} s within a frame: is it cut off?")
    return "; ".join(notes)


def _count(file: BinaryIO, first: int, size: int) -> _Count:
    """Walks from frame to frame. Bytes between frames are a hole, unless they are tags, or zeros at the end."""
    position, covered, seconds, holes = first, 0, 0.0, list[tuple[float, float]]()
    sync = next(one for one in _SYNCS if piece(file, first, 2).startswith(one))
    while position < size:
        head = piece(file, position, 7)
        frame = header(head)
        if frame and position + frame.size > size:
            return _Count(seconds, covered + size - position, size, holes, cut=True)
        if frame:
            position, covered = position + frame.size, covered + frame.size
            seconds += frame.samples / frame.rate
            continue
        after = _next_frame(file, position, size, sync)
        lost = (after or size) - position
        if not (is_tag(head) if after else _is_rest(file, position, head)) and lost > _LEAST_HOLE:
            holes.append((seconds, lost * seconds / max(covered, 1)))
        if after is None:
            return _Count(seconds, covered, position, holes, cut=head.startswith(sync[:1]))
        position = after
    return _Count(seconds, covered, position, holes, cut=False)


def _is_rest(file: BinaryIO, position: int, head: bytes) -> bool:
    other = first_other_than_zero(file, position)
    return is_tag(head) or other is None or is_tag(piece(file, other, 12))


def _next_frame(file: BinaryIO, position: int, stop: int, sync: bytes) -> int | None:
    """Returns where the next two frames of one kind, or a last one, begin, before `stop`."""
    end = file.seek(0, 2)
    for place, block in blocks(file, position, 8192):
        at = block.find(sync)
        while at >= 0 and place + at < stop:
            one = header(block, at)
            if one:
                behind = place + at + one.size
                two = header(piece(file, behind, 7))
                if behind == end or (two and (two.kind, two.rate) == (one.kind, one.rate)):
                    return place + at
            at = block.find(sync, at + 1)
        if place + len(block) >= stop:
            return None
    return None


def look_at_amr(file: BinaryIO, start: int, size: int) -> Look | None:
    """Returns the structure of an AMR file, whose frames tell their size in the first byte."""
    magic = next((one for one in _AMR if piece(file, start, len(one)) == one), None)
    if magic is None:
        return None
    position, frames, sizes = start + len(magic), 0, _AMR[magic]
    while position < size:
        first = piece(file, position, 1)
        kind = first[0] >> 3 & 15
        after = position + 1 + (sizes[kind] if kind < len(sizes) else 0)
        if after > size:
            note = "" if first == b"\0" else f"ends after {frames / 50:.2f} s within a frame: is it cut off?"
            return Look((Part(b"", start, position),), by_name=False, note=note)
        position, frames = after, frames + 1
    return Look((Part(b"", start, size),), by_name=start == 0)


def _xing(data: bytes, one: Frame) -> tuple[int, int, bool]:
    """Returns the frames that a header of LAME or Xing promises, the samples that it trims, and if there is one."""
    for at in (36, 21, 13, 38, 23, 15):
        if data[at : at + 4] in (b"Xing", b"Info"):
            flags, frames = struct.unpack(">II", data[at + 4 : at + 12])
            delays = int.from_bytes(data[at + 141 : at + 144], "big") if data[at + 120 : at + 124].isalnum() else 0
            return (frames if flags & 1 else 0), (delays >> 12) + (delays & 0xFFF), True
    if data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big"), 0, True
    return 0, 0, False


# --- FLAC -------------------------------------------------------------------------------------------------------------

_STREAM = b"fLaC\x00\x00\x00\x22"  # the magic word, and the head of the block that each file begins with
_TAIL = 1 << 17  # bytes at the end that hold the last frame


def look_at_flac(file: BinaryIO, start: int, size: int) -> Look | None:
    """Returns the structure of a FLAC file: a part for each of the files that stand end to end in it."""
    head = piece(file, start, 42)
    if head[:4] != b"fLaC":
        return None
    found = (place + at for place, block in blocks(file, start + 4, 7) for at in _places(block))
    links = [start, *dict.fromkeys(place for place in found if place > start)]
    parts = [Part(b"", a, b) for a, b in zip(links, [*links[1:], size], strict=True)]
    if len(head) < 42 or len(parts) > 1:
        return Look(tuple(parts), by_name=len(parts) == 1 and start == 0)
    promised = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    there = _last_sample(piece(file, max(start + 42, size - _TAIL), _TAIL), head)
    rate = max(int.from_bytes(head[18:21], "big") >> 4, 1)
    if there > promised:  # 0 means that the length is not known, and that the decoder reads to the end
        header = head[:21] + (int.from_bytes(head[21:26], "big") & ~0xFFFFFFFFF).to_bytes(5, "big") + head[26:]
        return Look((Part(header, start + 42, size),), False, promised or None, there, seconds=there / rate)
    return Look(tuple(parts), by_name=start == 0, seconds=promised / rate)


def _places(block: bytes) -> Iterator[int]:
    at = block.find(_STREAM)
    while at >= 0:
        yield at
        at = block.find(_STREAM, at + 1)


def _last_sample(tail: bytes, stream: bytes) -> int:
    """Returns the number of the sample behind the last frame of `tail`; 0 if no frame is found.

    Args:
        tail: The end of the file.
        stream: Its first 42 bytes, which tell the size of all blocks but the last.
    """
    block_size = int.from_bytes(stream[8:10], "big")
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        stop = _frame_stop(tail[at : at + 16], block_size)
        if stop:
            return stop
    return 0


def _frame_stop(data: bytes, block_size: int) -> int:
    """Returns the number of the sample behind a frame of FLAC, from its header; 0 if the header is none."""
    if len(data) < 16 or data[1] & 0xFE != 0xF8 or data[3] & 1 or data[2] & 15 == 15 or data[3] >> 4 > 10:
        return 0
    length = max(8 - (data[4] ^ 0xFF).bit_length(), 1)  # the number is written as UTF-8 writes a character
    if data[4] >> 6 == 2 or length > 7:
        return 0
    number = data[4] & (0x7F if length == 1 else (1 << 7 - length) - 1)
    for byte in data[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at, code = 4 + length, data[2] >> 4
    width = {6: 1, 7: 2}.get(code, 0)
    if width:
        own = int.from_bytes(data[at : at + width], "big") + 1
    else:
        own = {0: 0, 1: 192}[code] if code < 2 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += width + {12: 1, 13: 2, 14: 2}.get(data[2] & 15, 0)
    if not own or at >= len(data) or _crc8(data[:at]) != data[at]:
        return 0
    return number + own if data[1] & 1 else number * block_size + own


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
