"""The structure of a file of any format: where its sound is, how long it says to be, and how long it is."""

from pathlib import Path
from typing import BinaryIO

from gruvlike.audio import _containers, _framing, _ogg
from gruvlike.audio._views import Look, Part, blocks, first_other_than_zero, piece

_BUFFER = 1 << 16
_ZEROS = 1 << 24  # bytes in front, or at the end, that may be zeros
_LEAST_ZEROS = 64
_PACKET = 188  # bytes of a packet of an MPEG stream
_PACKED = (b"MAC ", b"wvpk", b"TTA1", b"tBaK", b"MPCK", b"MP+", b"#!AM", b"G")  # these do not end with zeros
_SOUND = (
    *(b"riff.\x91\xcf\x11", b"caff\x00\x01", b".snd\0\0", b"fLaC", b"OggS", b"FLV\x01", b"ajkg", b"DSD ", b"FRM8"),
    *(b"#!AMR", b"NIST_1A", b"Creative Voice File\x1a", b".RMF", b".ra\xfd", b"qoaf", *_PACKED[:6]),
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),  # WMA
    bytes.fromhex("7ffe8001"),  # DTS
)
# The kinds of MP4 that hold sound; images use the same container.
_BRANDS = (
    *(b"M4A ", b"M4B ", b"M4P ", b"M4V ", b"mp41", b"mp42", b"isom", b"iso2", b"iso5", b"iso6", b"dash", b"qt  "),
    *(b"3gp4", b"3gp5", b"3gp6", b"avc1", b"MSNV"),
)


def look(path: Path) -> Look:
    """Returns the structure of the file; of an unknown format, that it is one part."""
    with open(path, "rb", buffering=_BUFFER) as file:
        size = file.seek(0, 2)
        start = _beginning(file)
        for one in (_containers.look, _ogg.look, _framing.look_at_flac, _framing.look):
            found = one(file, start, size)
            if found is not None:
                return found
        stop = _end(file, start, size)
        found = _framing.look_at_amr(file, start, stop)
        note = _note_on_stream(file, start, stop)
    return found or Look((Part(b"", start, stop),), start == 0 and stop == size, note=note)


def _note_on_stream(file: BinaryIO, start: int, stop: int) -> str:
    """Returns a doubt about the packets of an MPEG stream, which are of one size; "" if they are whole, or are none."""
    if any(piece(file, start + _PACKET * k, 1) != b"G" for k in range(3)):
        return ""
    damaged = 0
    for place, block in blocks(file, start):
        firsts = block[(start - place) % _PACKET : max(stop - place, 0) : _PACKET]
        damaged += len(firsts) - firsts.count(b"G")
    if damaged > 1:
        return f"{damaged} of its {(stop - start) // _PACKET} packets are damaged"
    ends_within = piece(file, stop - (stop - start) % _PACKET, 1) == b"G" and (stop - start) % _PACKET
    return "ends within a packet: is it cut off?" if ends_within else ""


def is_sound(path: Path) -> bool:
    """Says whether the first bytes of a file of any name are those of sound."""
    with open(path, "rb") as file:
        start = _beginning(file)
        head = piece(file, start, 400)
        if _is_known(head):
            return True
        size = file.seek(0, 2)
        return bool(start or head[:1] == b"\xff") and _framing.look(file, start, size) is not None


def _is_known(head: bytes) -> bool:
    form = head[8:12]
    return (
        (head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form in (b"WAVE", b"AVI "))
        or (head[:4] == b"FORM" and form in (b"AIFF", b"AIFC", b"8SVX"))
        or (head[4:8] == b"ftyp" and form in _BRANDS)
        or (head[:4] == b"\x1aE\xdf\xa3" and (b"webm" in head or b"matroska" in head))
        or (
            len(head) > 2 * _PACKET and head[0] == head[_PACKET] == head[2 * _PACKET] == 0x47
        )  # packets of an MPEG stream
        or head.startswith(_SOUND)
    )


def _beginning(file: BinaryIO) -> int:
    """Returns where the sound begins: behind tags, and behind zeros where a known format follows them."""
    start = 0
    while True:
        head = piece(file, start, 10)
        if head[:3] == b"ID3" and len(head) == 10 and max(head[6:]) < 0x80:
            size = int("".join(f"{byte:07b}" for byte in head[6:]), 2)
            start += 10 + size + (10 if head[5] & 0x10 else 0)
            continue
        other = first_other_than_zero(file, start, _ZEROS) if head[:1] == b"\0" else start
        if other is None or other == start:
            return start
        head = piece(file, other, 400)
        box = head.find(b"ftyp", 0, 8)
        if box > 0:  # the size in front of this word begins with zeros itself
            return other + box - 4
        if not _is_known(head) and not head.startswith(b"ID3") and not _framing.header(head):
            return start
        start = other


def _end(file: BinaryIO, start: int, size: int) -> int:
    """Returns where the sound ends: in front of tags, and of zeros, that a decoder would take for sound."""
    if piece(file, max(size - 128, start), 3) == b"TAG":
        size -= 128
    foot = piece(file, max(size - 32, start), 32)
    if foot[:8] == b"APETAGEX":
        size -= min(int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0), size - start)
    if piece(file, size - _LEAST_ZEROS, _LEAST_ZEROS).strip(b"\0") or not piece(file, start, 4).startswith(_PACKED):
        return size
    tail = piece(file, max(size - _ZEROS, start), _ZEROS)[: size - start]
    return size - len(tail) + len(tail.rstrip(b"\0"))
