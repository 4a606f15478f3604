"""The headers of an HDF5 file, read without the HDF5 library.

libhdf5 loops for ever over some damaged headers, where nothing in Python can interrupt it, takes the memory that a
header asks for, and calls a file damaged that another process has open. So the headers that `_file.write` makes are
read here: superblock version 0, groups with symbol tables, contiguous datasets, attributes of one number or text (the
layout that h5py writes unless it is told otherwise). Each size is checked before so many bytes are read, each structure
is visited once, and the work is bounded by the size of the file.

References:
    The HDF Group, "HDF5 File Format Specification", version 3.0.
"""

import math
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST = 1 << 20  # bytes of one structure; in a file that `_file.write` made, some thousand
_LARGEST_NAMES = 1 << 26  # bytes of all names in a group
_LONGEST_NAME = 1 << 8
_MOST_WORK = 1 << 30  # bytes, as `Headers` counts them: enough for 300,000 tracks
_STEP = 64  # bytes that take as long to read as one step takes
_KEPT = 4  # texts that are kept count so often: many headers can refer to one text
_CACHED_HEAPS = 8
_DATASPACE, _DATATYPE, _LAYOUT, _ATTRIBUTE, _CONTINUATION, _SYMBOLS = 1, 3, 8, 12, 16, 17
_FLOATS = {2: "e", 4: "f", 8: "d"}

Value = int | float | str


class DamagedError(Exception):
    """A header that does not hold, with the reason."""


class NewerLayoutError(Exception):
    """A file of a layout that h5py writes on demand, and that is not read here."""


class Place(NamedTuple):
    """Where the data of a dataset lie.

    Attributes:
        offset: The first byte.
        size: How many numbers of 16 bits.
    """

    offset: int
    size: int


class Node(NamedTuple):
    """A group or a dataset.

    Attributes:
        attributes: Name -> value, of those that were asked for.
        members: Name -> address of a header, in a group; the address of a link is 0.
        place: The place of the data, if they are contiguous numbers of 16 bits in one dimension.
    """

    attributes: dict[str, Value]
    members: dict[str, int]
    place: Place | None


class Headers:
    """Reads the headers of an open file.

    Args:
        file: The file, open for reading bytes.
        wanted: Names of the attributes to read; others are passed over.

    Raises:
        DamagedError: From each method, if a header does not hold.
        NewerLayoutError: From `root`, if the file has a newer layout.
    """

    def __init__(self, file: BinaryIO, wanted: Collection[str]):
        self.size = file.seek(0, 2)
        self._file = file
        self._wanted = frozenset(wanted)
        self._work = min(_MOST_WORK, _LARGEST + 8 * self.size)
        self._seen: set[int] = set()
        self._heaps: dict[int, dict[int, bytes]] = {}

    def root(self) -> Node:
        """Returns the group that holds all others."""
        block = self._take(0, 96)
        if not block.startswith(_SIGNATURE):
            raise DamagedError("it does not begin as an HDF5 file does")
        version, sizes = block[8], block[13:15]
        if version in (2, 3):
            raise NewerLayoutError(f"HDF5 superblock version {version}")
        if version > 1 or sizes != b"\x08\x08":
            raise DamagedError(f"its superblock has version {version} and offsets of {sizes[0]} bytes")
        base, _, end, _, _, address = struct.unpack_from("<6Q", self._take(24 + 4 * version, 48))
        if base or end > self.size:
            raise DamagedError(f"it is cut: {self.size - base} of {end} bytes are there")
        return self.node(address)

    def node(self, address: int) -> Node:
        """Returns the group or dataset whose header is at `address`."""
        attributes: dict[str, Value] = {}
        found: dict[int, bytes] = {}
        with _naming_what_is_cut():
            for kind, body in self._messages(address):
                if kind == _ATTRIBUTE:
                    attributes.update(self._attribute(body))
                else:
                    found[kind] = body
            members = self._members(*struct.unpack_from("<2Q", found[_SYMBOLS])) if _SYMBOLS in found else {}
            return Node(attributes, members, self._place(found))

    def _take(self, offset: int, size: int, limit: int = _LARGEST) -> bytes:
        """Reads bytes, and counts the work."""
        if size > limit or offset + size > self.size:
            raise DamagedError(f"it should have {size} bytes at {offset}, of {self.size}")
        self._step(size)
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise DamagedError(f"it ends while it is read, at {offset + len(data)}")
        return data

    def _step(self, size: int = 0) -> None:
        self._work -= size + _STEP
        if self._work < 0:
            raise DamagedError("its headers refer to each other without an end")

    def _once(self, address: int) -> int:
        if address in self._seen:
            raise DamagedError(f"two headers refer to the same bytes at {address}")
        self._seen.add(address)
        return address

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Yields kind and content of each message of an object header."""
        version, _, count, _, size = struct.unpack_from("<BBHII", self._take(self._once(address), 16))
        if version != 1:
            raise DamagedError(f"the header at {address} has version {version}")
        blocks = [(address + 16, size)]
        for offset, length in blocks:  # grows while it is read
            data, place = self._take(offset, length), 0
            while place + 8 <= length and count:
                kind, size, flags = struct.unpack_from("<HHB", data, place)
                body = data[place + 8 : place + 8 + size]
                if len(body) < size or flags & 2:
                    raise DamagedError(f"the header at {address} has a message that is cut, or lies elsewhere")
                self._step()
                place, count = place + 8 + size, count - 1
                if kind == _CONTINUATION:
                    further, length_there = struct.unpack_from("<2Q", body)
                    blocks.append((self._once(further), length_there))
                else:
                    yield kind, body

    def _attribute(self, body: bytes) -> dict[str, Value]:
        """Returns name and value of an attribute, if it was asked for."""
        version, flags, *sizes = struct.unpack_from("<BBHHH", body)
        if not 1 <= version <= 3 or (version > 1 and flags):
            raise DamagedError(f"an attribute has version {version}, flags {flags}")
        place, parts = 8 if version < 3 else 9, []
        for size in sizes:
            parts.append(body[place : place + size])
            place += _padded(size) if version == 1 else size
        name = _text(parts[0])
        return {name: self._value(name, parts[1], parts[2], body[place:])} if name in self._wanted else {}

    def _value(self, name: str, kind: bytes, space: bytes, data: bytes) -> Value:
        size, bits = struct.unpack_from("<I", kind, 4)[0], kind[1]
        data, is_big_endian = data[:size], bool(bits & 1)
        if math.prod(_dimensions(space)) == 1 and len(data) == size > 0:
            match kind[0] & 15:
                case 0 if size <= 8:
                    return int.from_bytes(data, "big" if is_big_endian else "little", signed=bool(bits & 8))
                case 1 if size in _FLOATS:
                    return float(struct.unpack((">" if is_big_endian else "<") + _FLOATS[size], data)[0])
                case 3:
                    return _text(data)
                case 9 if bits & 15 == 1:
                    length, address, index = struct.unpack("<IQI", data)
                    self._step(_KEPT * length)
                    return _text(self._heap(address).get(index, b"")[:length]) if length else ""
        raise DamagedError(f"the attribute {name!r} is neither one number nor one text")

    def _heap(self, address: int) -> dict[int, bytes]:
        """Returns the texts of a global heap by their numbers."""
        if address not in self._heaps:
            magic, size = struct.unpack("<4s4xQ", self._take(address, 16))
            if magic != b"GCOL":
                raise DamagedError(f"there are no texts at {address}")
            data, place, texts = self._take(address, size), 16, {}
            while place + 16 <= size and (number := struct.unpack_from("<H", data, place)[0]):
                length = struct.unpack_from("<Q", data, place + 8)[0]
                if place + 16 + length > size:
                    raise DamagedError(f"a text at {address} is cut")
                texts[number] = data[place + 16 : place + 16 + length]
                place += 16 + _padded(length)
                self._step()
            if len(self._heaps) >= _CACHED_HEAPS:
                self._heaps.clear()
            self._heaps[address] = texts
        return self._heaps[address]

    def _members(self, tree: int, heap: int) -> dict[str, int]:
        """Returns the members of a group, from its B-tree and the heap of its names."""
        magic, size, _, place = struct.unpack("<4s4x3Q", self._take(self._once(heap), 32))
        if magic != b"HEAP":
            raise DamagedError(f"there are no names at {heap}")
        names, members = self._take(place, size, _LARGEST_NAMES), {}
        for table in self._tables(tree):
            magic, _, _, count = struct.unpack("<4sBBH", self._take(self._once(table), 8))
            if magic != b"SNOD":
                raise DamagedError(f"there is no part of a group at {table}")
            for start, address, link in struct.iter_unpack("<2QI20x", self._take(table + 8, 40 * count)):
                stop = names.find(b"\0", start, start + _LONGEST_NAME)
                name = _text(names[start:stop])
                if stop < 0 or name in members:
                    raise DamagedError(f"a member of a group has no name of its own at {table}")
                members[name] = 0 if link == 2 else address
                self._step(_KEPT * len(name))
        return members

    def _tables(self, tree: int) -> Iterator[int]:
        """Yields the addresses of the symbol tables below a node of a B-tree."""
        waiting = [tree]
        while waiting:
            node = self._once(waiting.pop())
            magic, kind, level, count = struct.unpack("<4sBBH", self._take(node, 8))
            if magic != b"TREE" or kind:
                raise DamagedError(f"there is no list of a group at {node}")
            children = [child for _, child in struct.iter_unpack("<2Q", self._take(node + 24, 16 * count))]
            if level:
                waiting += children
            else:
                yield from children

    def _place(self, found: dict[int, bytes]) -> Place | None:
        if not {_DATASPACE, _DATATYPE, _LAYOUT} <= found.keys():
            return None
        dimensions, kind, layout = _dimensions(found[_DATASPACE]), found[_DATATYPE], found[_LAYOUT]
        # A number of 16 bits: two's complement, little-endian, 2 bytes, from bit 0, 16 bits.
        is_pcm = kind[0] & 15 == 0 and kind[1] & 9 == 8 and struct.unpack_from("<IHH", kind, 4) == (2, 0, 16)
        version, storage = layout[:2]
        if not is_pcm or len(dimensions) != 1 or version not in (3, 4) or storage != 1:
            return None
        offset, length = struct.unpack_from("<2Q", layout, 2)
        if offset + length > self.size or length != 2 * dimensions[0]:
            raise DamagedError(f"{dimensions[0]} samples should lie at {offset}, where {length} bytes are kept")
        return Place(offset, dimensions[0])


class Checked:
    """Attributes of a file from anywhere, checked as they are asked for."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = values

    def text(self, name: str) -> str:
        """Returns a text."""
        return self._value(name, str, "a text")

    def integer(self, name: str, low: int, high: int = (1 << 31) - 1) -> int:
        """Returns an integer in [low, high]."""
        return self._value(name, int, f"an integer in [{low}, {high}]", lambda value: low <= value <= high)

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Returns a finite number in [low, high]."""
        rule = f"a number in [{low}, {high}]"
        return float(self._value(name, int | float, rule, lambda value: math.isfinite(value) and low <= value <= high))

    def _value(self, name: str, kind: Any, rule: str, holds: Callable[[Any], bool] = lambda _: True) -> Any:
        value = self._values.get(name)
        if not isinstance(value, kind) or not holds(value):
            raise DamagedError(f"the attribute {name!r} must be {rule}, and is {value!r}")
        return value


def _dimensions(space: bytes) -> tuple[int, ...]:
    """Returns the dimensions of a dataspace; one number alone has none, nothing at all has a dimension of 0."""
    version, rank, _, kind = space[:4]
    if version not in (1, 2):
        raise DamagedError(f"a dataspace has version {version}")
    return (0,) if version == 2 and kind == 2 else struct.unpack_from(f"<{rank}Q", space, 8 if version == 1 else 4)


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // 8) * 8


@contextmanager
def _naming_what_is_cut() -> Iterator[None]:
    """Turns the errors of unpacking too few bytes into `DamagedError`."""
    try:
        yield
    except (struct.error, IndexError, ValueError) as error:
        raise DamagedError(f"a header is cut: {error}") from error
