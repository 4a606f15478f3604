"""The tracks of a corpus: views of one mapped file, each with a checksum."""

import mmap
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gruvlike.rhythm import Beat

COPIED_SAMPLES = 1 << 23


class Pcm:
    """The bytes of a corpus file, mapped into memory on first use (and again in each process it is sent to).

    One map serves all tracks: a map each would run out of file handles.
    """

    def __init__(self, file: Path, status: os.stat_result):
        self.file = file
        self._stamp = _stamp(status)
        self._bytes: np.memmap | None = None
        self._checked: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}

    def view(self, offset: int, start: int, stop: int) -> np.ndarray:
        """Returns samples [start, stop) of the dataset at byte `offset`, without a copy."""
        mapped = self._mapped()
        if isinstance(mapped.base, mmap.mmap) and mapped.base.size() < len(mapped):
            raise self._changed("cut")  # the system kills a process that reads behind the end
        return mapped[offset + 2 * start : offset + 2 * stop].view("<i2")

    def announce(self, offset: int, start: int, stop: int) -> None:
        """Asks the system to have these samples ready: one large read, where page faults would be many small ones."""
        mapped = self._mapped().base
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
            first = (offset + 2 * start) // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, first, offset + 2 * stop - first)

    def check(self, offset: int, size: int, checksum: int) -> bool:
        """Returns whether the dataset of `size` samples at byte `offset` has that checksum; it is computed once."""
        if offset not in self._checked:
            if crc(self.view(offset, 0, size)) != checksum:
                return False
            self._checked.add(offset)
        return True

    def require_same(self) -> None:
        """Raises if another file has the name now."""
        if _stamp(self.file.stat()) != self._stamp:
            raise self._changed("replaced")

    def _mapped(self) -> np.memmap:
        if self._bytes is None:
            self.require_same()
            self._bytes = np.memmap(self.file, np.uint8, mode="r")
        return self._bytes

    def _changed(self, how: str) -> ValueError:
        return ValueError(
            f"A corpus file must not change while it is open. Received: {str(self.file)!r}, which was {how}. "
            "Open it again with `Corpus(file)`."
        )


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
        checksum: CRC-32 of the PCM of the whole piece, as little-endian bytes. `None` in a file of an older version.

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
    _length: int = field(repr=False, compare=False)
    _beat: Beat | None = field(default=None, repr=False)
    checksum: int | None = None

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
        """Says that samples [start, stop) are about to be read, so that the disk can be quick.

        The first call for a piece of music also compares the whole piece with its checksum.

        Args:
            start: First sample, within the track.
            stop: The sample after the last one.

        Raises:
            ValueError: If the music is not as it was written.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
            ...     track = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)[0]
            ...     track.announce(8000, 16_000)
            ...     track.pcm[8000:16_000].shape
            (8000,)
        """
        if self.checksum is not None and not self._map.check(self._offset, self._length, self.checksum):
            raise not_as_written(f"{self.name!r} in {str(self._map.file)!r}")
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


def crc(pcm: np.ndarray, before: int = 0) -> int:
    """Returns the CRC-32 of int16 PCM, or goes on from that of the samples before. A mapped file is read in pieces."""
    for start in range(0, len(pcm), COPIED_SAMPLES):
        before = zlib.crc32(pcm[start : start + COPIED_SAMPLES].astype("<i2", copy=False).data, before)
    return before


def crc_of(track: Track) -> int:
    """Returns the CRC-32 that the PCM of a whole piece has now."""
    return crc(track._map.view(track._offset, 0, track._length))


def not_as_written(what: str) -> ValueError:
    """Returns the error for music whose checksum differs."""
    return ValueError(
        f"The music of a corpus must be as it was written. Received: {what}, whose checksum differs: the disk or the "
        "copy is damaged, or a program changed it. Build again onto the file: what is whole is taken over."
    )


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
