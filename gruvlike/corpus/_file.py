"""The file format of a corpus, and the tracks in it.

An HDF5 file with attributes `format`, `format_version`, `sample_rate`, `high_pass_hz` (0 = none) and a group `tracks`
of contiguous int16 datasets "000000", "000001", ...; each carries `name`, `source`, `hash`, `peak`, `rms`, `clipped`,
and, since version 2, the fields of its `Beat`. In a file of version 1, tracks have no beats. The checksum of the PCM,
`checksum`, is absent in files of an older gruvlike.
"""

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from gruvlike.corpus._headers import Checked, DamagedError, Headers, NewerLayoutError, Node
from gruvlike.corpus._track import COPIED_SAMPLES, Pcm, Track, crc, not_as_written
from gruvlike.rhythm import Beat

if TYPE_CHECKING:
    import h5py

FORMAT = "gruvlike corpus"
VERSION = 2
_OF_FILE = ("format", "format_version", "sample_rate", "high_pass_hz")
_OF_TRACK = ("name", "source", "hash", "peak", "rms", "clipped", "checksum")


def write(
    path: Path, sample_rate: int, high_pass_hz: float | None, tracks: Iterable[tuple[Mapping[str, object], np.ndarray]]
) -> None:
    """Writes a corpus file from (attributes, int16 PCM) pairs; the PCM is copied piece by piece.

    Each track gets the checksum of its PCM.

    Raises:
        ValueError: If a track has a checksum already, and its PCM another one.
    """
    import h5py  # imported here because only writers need it

    # `_headers` reads the earliest layout; nobody else knows the file yet, so it needs no lock (some disks have none).
    with h5py.File(path, "w", libver=("earliest", "v110"), locking=False) as h5:
        h5.attrs.update(
            format=FORMAT, format_version=VERSION, sample_rate=sample_rate, high_pass_hz=high_pass_hz or 0.0
        )
        group = h5.create_group("tracks")
        for index, (attributes, pcm) in enumerate(tracks):
            # In one order and the checksum last, so that equal music makes equal files, whatever it comes from.
            about = {name: attributes[name] for name in (*_OF_TRACK, *Beat._fields) if name in attributes}
            expected, found = about.pop("checksum", None), 0
            dataset = allocate(group, index, len(pcm), about)
            for start in range(0, len(pcm), COPIED_SAMPLES):
                piece = pcm[start : start + COPIED_SAMPLES].astype("<i2", copy=False)
                dataset[start : start + COPIED_SAMPLES] = piece
                found = crc(piece, found)
            if expected not in (None, found):
                raise not_as_written(f"{attributes['name']!r} in {str(path)!r}")
            dataset.attrs["checksum"] = found


def attributes(track: Track) -> dict[str, object]:
    """Returns the attributes of a whole track, as `write` takes them."""
    values = {name: getattr(track, name) for name in _OF_TRACK}
    beat = track._beat._asdict() if track._beat else {}
    return {**{name: value for name, value in values.items() if value is not None}, **beat}


def allocate(group: "h5py.Group", index: int, size: int, attributes: Mapping[str, object]) -> "h5py.Dataset":
    """Adds a track of `size` samples that has its place in the file (an offset) before anything is written to it."""
    import h5py

    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dataset = group.create_dataset(f"{index:06d}", (size,), "<i2", dcpl=layout)
    dataset.attrs.update({name: _storable(value) for name, value in attributes.items()})
    return dataset


def _storable(value: object) -> object:
    """Returns a value as HDF5 can store it: a file name that is not UTF-8 becomes bytes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return os.fsencode(value)
    return value


class Contents(NamedTuple):
    """A corpus file as it is opened.

    Attributes:
        sample_rate: Samples per second.
        high_pass_hz: Cutoff of the high-pass, or `None`.
        tracks: The tracks.
        version: Version of the format.
    """

    sample_rate: int
    high_pass_hz: float | None
    tracks: tuple[Track, ...]
    version: int


def read(path: str | os.PathLike) -> Contents:
    """Returns the contents of a corpus file, or raises and names the content found instead."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"The corpus file must exist. Received: {str(path)!r}. Make it with `Corpus.build`.")
    if not path.is_file():
        raise IsADirectoryError(f"A corpus is one file. Received: {str(path)!r}, which is none.")
    with open(path, "rb") as file:
        try:
            return _contents(path, file)
        except DamagedError as error:
            raise ValueError(
                f"A whole corpus file is needed. Received: {str(path)!r}, which is damaged or no corpus: {error}. "
                "Build it again."
            ) from error
        except NewerLayoutError as error:
            raise ValueError(
                f"A corpus has the HDF5 layout that `Corpus.build` gives it. Received: {str(path)!r}, which another "
                f"program wrote with a newer one ({error}). Build it again, or copy it with h5py's default `libver`."
            ) from error
        except OSError as error:  # the disk
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error


def _contents(path: Path, file: BinaryIO) -> Contents:
    headers = Headers(file, (*_OF_FILE, *_OF_TRACK, *Beat._fields))
    root = headers.root()
    if root.attributes.get("format") != FORMAT:
        raise ValueError(
            f"A corpus made by `Corpus.build` is needed. Received: {str(path)!r}, an HDF5 file of another kind "
            f"with {sorted(root.members)[:5]}."
        )
    about = Checked(root.attributes)
    version = about.integer("format_version", low=1)
    if version > VERSION:
        raise ValueError(
            f"Corpus format versions up to {VERSION} can be read. Received: {str(path)!r} of version {version}. "
            "Use a newer gruvlike."
        )
    rate = about.integer("sample_rate", low=1)
    high_pass_hz = about.number("high_pass_hz", low=0, high=rate / 2)
    pcm = Pcm(path.absolute(), os.fstat(file.fileno()))
    members = headers.node(root.members.get("tracks", 0)).members
    tracks = tuple(_track(name, headers.node(address), rate, pcm) for name, address in sorted(members.items()))
    if not tracks:
        raise DamagedError("it holds no track")
    places = sorted((track._offset, track._offset + 2 * len(track)) for track in tracks)
    if any(stop > start for (_, stop), (start, _) in pairwise(places)):
        raise DamagedError("two tracks share bytes")
    return Contents(rate, high_pass_hz or None, tracks, version)


def _track(name: str, node: Node, rate: int, pcm: Pcm) -> Track:
    if node.place is None or not node.place.size:
        raise DamagedError(f"tracks are contiguous datasets of 16-bit samples, and {name!r} is none")
    about = Checked(node.attributes)
    offset, size = node.place
    return Track(
        name=about.text("name"),
        source=about.text("source"),
        sample_rate=rate,
        peak=about.number("peak", low=0, high=1),
        rms=about.number("rms", low=0, high=1.001),
        clipped=about.integer("clipped", low=0, high=size),
        hash=about.text("hash"),
        start=0,
        stop=size,
        _map=pcm,
        _offset=offset,
        _beat=beat_in(node.attributes),
        _length=size,
        checksum=about.integer("checksum", low=0, high=2**32 - 1) if "checksum" in node.attributes else None,
    )


def beat_in(about: Mapping[str, Any]) -> Beat | None:
    """Returns the beat among the attributes of a track, if it is there."""
    if Beat._fields[0] not in about:
        return None
    beat = Beat(*map(Checked(about).number, Beat._fields))
    if beat.beat_seconds <= 0:
        raise DamagedError(f"`beat_seconds` must be above 0, and is {beat.beat_seconds}")
    return beat
