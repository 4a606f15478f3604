"""The file format of a corpus, and the tracks in it.

An HDF5 file with attributes `format`, `format_version`, `sample_rate`, `high_pass_hz` (0 = none) and a group `tracks`
of contiguous int16 datasets "000000", "000001", ...; each carries `name`, `source`, `hash`, `peak`, `rms`, `clipped`,
and, since version 2, the fields of its `Beat`. In a file of version 1, tracks have no beats.
"""

import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gruvlike.rhythm import Beat

FORMAT = "gruvlike corpus"
VERSION = 2
_COPIED_SAMPLES = 1 << 23


class Pcm:
    """The bytes of a corpus file, mapped into memory on first use (and again in each process it is sent to).

    One map serves all tracks: a map each would run out of file handles.
    """

    def __init__(self, file: Path):
        self.file = file
        self._stamp = self._identity()
        self._bytes: np.memmap | None = None

    def _identity(self) -> tuple[int, int]:
        status = self.file.stat()
        return status.st_size, status.st_mtime_ns

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}

    def view(self, offset: int, start: int, stop: int) -> np.ndarray:
        """Returns samples [start, stop) of the dataset at byte `offset`, without a copy."""
        return self._mapped()[offset + 2 * start : offset + 2 * stop].view("<i2")

    def announce(self, offset: int, start: int, stop: int) -> None:
        """Asks the system to have these samples ready: one large read, where page faults would be many small ones."""
        mapped = self._mapped().base
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
            first = (offset + 2 * start) // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, first, offset + 2 * stop - first)

    def _mapped(self) -> np.memmap:
        if self._bytes is None:
            if self._identity() != self._stamp:
                raise ValueError(
                    f"A corpus file must not change while it is open. Received: {str(self.file)!r}, which was "
                    "replaced. Open it again with `Corpus(file)`."
                )
            self._bytes = np.memmap(self.file, np.uint8, mode="r")
        return self._bytes


@dataclass(frozen=True)
class Track:
    """One piece of music in a `Corpus`, or a section of it.

    Args:
        name: Name of the file that it came from, without the folder.
        source: Path of that file.
        sample_rate: Samples per second.
        peak: Largest magnitude of the whole piece, 1.0 = full scale.
        rms: Root mean square of the whole piece.
        clipped: Samples of the whole piece that were beyond full scale and are clipped.
        hash: SHA-256 of the source file: equal content, equal hash.
        start: First sample of the section within the piece.
        stop: The sample after the last one.

    Attributes:
        seconds: Length of the section.
        pcm: The samples of the section, int16 (S,).
        beat: The beat, seen from the start of the section. `None` in a file of an older version: `Corpus.add_beats`
            finds it.
    """

    name: str
    source: str
    sample_rate: int
    peak: float
    rms: float
    clipped: int
    hash: str
    start: int
    stop: int
    _map: Pcm = field(repr=False, compare=False)
    _offset: int = field(repr=False, compare=False)
    _beat: Beat | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def seconds(self) -> float:
        return len(self) / self.sample_rate

    @property
    def beat(self) -> Beat | None:
        return self._beat and self._beat.shift(self.start / self.sample_rate)

    @property
    def pcm(self) -> np.ndarray:
        """The PCM, int16 of shape (S,): a view of the mapped file. Nothing is copied."""
        return self._map.view(self._offset, self.start, self.stop)

    def announce(self, start: int, stop: int) -> None:
        """Says that samples [start, stop) are about to be read. Only speed depends on it.

        Args:
            start: First sample, within the track.
            stop: The sample after the last one.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
            ...     track = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)[0]
            ...     track.announce(8000, 16_000)
            ...     track.pcm[8000:16_000].shape
            (8000,)
        """
        self._map.announce(self._offset, self.start + start, self.start + stop)

    def samples(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Returns samples [start, stop) of the section.

        Args:
            start: First sample.
            stop: The sample after the last one; `None`: the end.

        Returns:
            Float32 samples in [-1, 1], of shape (stop - start,).

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tone.wav", np.full(16_000, 0.25), 8000)
            ...     track = gl.Corpus.build(folder, f"{folder}/music.h5", 8000, high_pass_hz=None)[0]
            ...     track.samples(8000, 8003)
            array([0.25, 0.25, 0.25], dtype=float32)
        """
        return self.pcm[start:stop].astype(np.float32) / np.float32(32768)


def write(
    path: Path, sample_rate: int, high_pass_hz: float | None, tracks: Iterable[tuple[Mapping[str, object], np.ndarray]]
) -> None:
    """Writes a corpus file from (attributes, int16 PCM) pairs; the PCM is copied piece by piece."""
    with h5py.File(path, "w") as h5:
        h5.attrs.update(
            format=FORMAT, format_version=VERSION, sample_rate=sample_rate, high_pass_hz=high_pass_hz or 0.0
        )
        group = h5.create_group("tracks")
        for index, (attributes, pcm) in enumerate(tracks):
            dataset = allocate(group, index, len(pcm), attributes)
            for start in range(0, len(pcm), _COPIED_SAMPLES):
                dataset[start : start + _COPIED_SAMPLES] = pcm[start : start + _COPIED_SAMPLES]


def parts_of(file: Path) -> Path:
    """Returns the folder in which the parts of a corpus are prepared."""
    return file.with_name(file.name + ".parts")


def attributes(track: Track) -> dict[str, object]:
    """Returns the attributes of a whole track, as `write` takes them."""
    names = ("name", "source", "hash", "peak", "rms", "clipped")
    beat = track._beat._asdict() if track._beat else {}
    return {**{name: getattr(track, name) for name in names}, **beat}


def allocate(group: h5py.Group, index: int, size: int, attributes: Mapping[str, object]) -> h5py.Dataset:
    """Adds a track of `size` samples that has its place in the file (an offset) before anything is written to it."""
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


def read(path: str | os.PathLike) -> tuple[int, float | None, tuple[Track, ...]]:
    """Returns sample rate, high-pass and tracks of a corpus file, or raises and names the content found instead."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"The corpus file must exist. Received: {str(path)!r}. Make it with `Corpus.build`.")
    if not path.is_file():
        raise IsADirectoryError(f"A corpus is one file. Received: {str(path)!r}, which is none.")
    try:
        with h5py.File(path, "r") as h5:
            _check(path, h5)
            rate = int(h5.attrs["sample_rate"])
            pcm = Pcm(path.absolute())
            tracks = tuple(_track(path, h5["tracks"][name], rate, pcm) for name in sorted(h5["tracks"]))
            return rate, float(h5.attrs["high_pass_hz"]) or None, tracks
    except (OSError, KeyError, RuntimeError) as error:  # h5py raises any of these on damaged files
        if isinstance(error, PermissionError):
            raise
        raise ValueError(
            f"A whole corpus file is needed. Received: {str(path)!r}, which is damaged or no corpus: {error}. "
            "Build it again."
        ) from error


def _check(path: Path, h5: h5py.File) -> None:
    if h5.attrs.get("format") != FORMAT:
        raise ValueError(
            f"A corpus made by `Corpus.build` is needed. Received: {str(path)!r}, an HDF5 file of another kind "
            f"with {sorted(h5)[:5]}."
        )
    version = int(h5.attrs["format_version"])
    if version > VERSION:
        raise ValueError(
            f"Corpus format versions up to {VERSION} can be read. Received: {str(path)!r} of version {version}. "
            "Use a newer gruvlike."
        )


def _track(path: Path, dataset: h5py.Dataset, rate: int, pcm: Pcm) -> Track:
    offset, about = dataset.id.get_offset(), dataset.attrs
    if offset is None or dataset.dtype != np.dtype("<i2") or dataset.ndim != 1:
        raise ValueError(f"Tracks must be contiguous 16-bit datasets. Received: {dataset.name} in {str(path)!r}.")
    return Track(
        name=os.fsdecode(about["name"]),
        source=os.fsdecode(about["source"]),
        sample_rate=rate,
        peak=float(about["peak"]),
        rms=float(about["rms"]),
        clipped=int(about["clipped"]),
        hash=about["hash"],
        start=0,
        stop=len(dataset),
        _map=pcm,
        _offset=offset,
        _beat=beat_in(about),
    )


def beat_in(about: Mapping[str, Any]) -> Beat | None:
    """Returns the beat among the attributes of a track, if it is there."""
    return Beat(*(float(about[name]) for name in Beat._fields)) if "beat_seconds" in about else None
