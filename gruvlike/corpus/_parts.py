"""The parts of a build: the PCM of each track beside the corpus, until all are there.

A part is `<hash of the source>-<settings>.pcm`, and a list of its attributes beside it (`.json`) with its size and
checksum. A track that the earlier corpus holds has the list alone. The folder may hold other files: nothing but parts
is touched.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np

from gruvlike._files import locked, replacing, sweep
from gruvlike.corpus import _parallel
from gruvlike.corpus._file import beat_in
from gruvlike.corpus._headers import Checked, DamagedError
from gruvlike.corpus._track import Track, crc, crc_of
from gruvlike.rhythm import Beat

logger = logging.getLogger(__name__)

_PART = re.compile(r"[0-9a-f]{64}-[0-9]+-[0-9.e+-]+-v[0-9]+\.(pcm|json)")
_LONGEST_LIST = 1 << 16
_BLOCK_SIZE = 1 << 18
_SAME_LEVEL = 1e-6


class About(TypedDict):
    """The attributes of a prepared track that follow from its file; see `Track`."""

    hash: str
    peak: float
    rms: float
    clipped: int
    checksum: NotRequired[int]  # this one and the next are absent in the list of an older version, and then added
    size: NotRequired[int]
    is_earlier: NotRequired[bool]  # whether the earlier corpus holds the PCM
    beat_seconds: NotRequired[float]  # these three are absent in parts, and tracks, of an older version
    phase_seconds: NotRequired[float]
    confidence: NotRequired[float]


def folder_of(file: Path) -> Path:
    """Returns the folder in which the parts of a corpus are prepared."""
    return file.with_name(file.name + ".parts")


@contextmanager
def alone(file: Path, rule: str) -> Iterator[Path]:
    """Makes the folder for the parts of a corpus, and holds its lock; removes both at the end if nothing else is there.

    Raises:
        BlockingIOError: With `rule` as the message, if another process holds the lock.
    """
    folder = folder_of(file)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(
            f"The parts of a corpus are prepared in a folder beside it. Received: {str(file)!r}, and {str(folder)!r} "
            "is a file. Move it, or give another name."
        ) from None
    lock = folder / "lock"
    with locked(lock, rule):
        try:
            yield folder
        finally:
            with suppress(OSError):  # the folder holds parts, or it is a link, or a system does not remove open files
                if not lock.stat().st_size:  # else it is a file of the user's
                    lock.unlink()
                folder.rmdir()


def files(folder: Path, suffix: str = "") -> list[Path]:
    """Returns the files of parts in a folder, those with `suffix` or all."""
    return [path for path in folder.iterdir() if _PART.fullmatch(path.name) and path.name.endswith(suffix)]


def bytes_of(file: Path) -> int:
    """Returns how many bytes of PCM the parts of a corpus hold."""
    with suppress(OSError):  # there are none, or another build has just removed them
        return sum(path.stat().st_size for path in files(folder_of(file), ".pcm"))
    return 0


def clear(folder: Path) -> None:
    """Removes all parts, whatever their settings are."""
    sweep(folder)
    for path in files(folder):
        path.unlink(missing_ok=True)


def whole(tracks: Iterable[Track]) -> dict[str, Track]:
    """Returns the tracks of an earlier corpus whose PCM is as it was written, by hash, each with its checksum."""
    tracks = list(tracks)
    found = _parallel.run(crc_of, tracks, list(map(len, tracks)), "Checking", "track") if tracks else []
    pairs = list(zip(tracks, found, strict=True))
    damaged = [repr(track.name) for track, checksum in pairs if track.checksum not in (None, checksum)]
    if damaged:
        logger.warning(
            "%d tracks of the earlier corpus are damaged (their checksums differ) and are made again from their files: "
            "%s",
            *(len(damaged), ", ".join(damaged)),
        )
    return {t.hash: replace(t, checksum=checksum) for t, checksum in pairs if t.checksum in (None, checksum)}


def offer(folder: Path, settings: str, earlier: dict[str, Track]) -> None:
    """Lists the tracks of the earlier corpus among the parts, and removes the unfinished files of a killed build."""
    sweep(folder)
    for path in files(folder, ".json"):
        if not path.with_suffix(".pcm").exists():
            path.unlink()
    for track in earlier.values():
        part = folder / f"{track.hash}-{settings}.pcm"
        part.unlink(missing_ok=True)
        about = About(hash=track.hash, peak=track.peak, rms=track.rms, clipped=track.clipped, is_earlier=True)
        if track.checksum is not None:  # always, of the tracks that `whole` returns
            about["checksum"], about["size"] = track.checksum, len(track)
        if track.beat:
            add_beat(about, track.beat)
        part.with_suffix(".json").write_text(json.dumps(about))


def add_beat(about: About, beat: Beat) -> None:
    """Adds a beat to the attributes of a track."""
    about["beat_seconds"], about["phase_seconds"], about["confidence"] = beat


def describe(part: Path, about: About) -> None:
    """Writes the list of a part that is on the disk: from then on the part is whole."""
    # The list itself need not be on the disk, which takes time: `known` notices one that a power cut emptied.
    with replacing(part.with_suffix(".json"), sweep_first=False) as temporary:
        temporary.write_text(json.dumps(about))


def known(part: Path, source: Path) -> About | None:
    """Returns the attributes of a part that is there and whole. One that is not whole is removed, with a word."""
    listed = part.with_suffix(".json")
    try:
        with open(listed, "rb") as file:
            return _checked(part, file.read(_LONGEST_LIST))
    except FileNotFoundError:
        pass  # there is none, or its build was killed before it was whole
    except (DamagedError, ValueError, OSError, RecursionError) as error:
        logger.warning("The part of %r from a stopped build is damaged, and is made again: %s.", str(source), error)
    for path in (listed, part):
        path.unlink(missing_ok=True)
    return None


def _checked(part: Path, listed: bytes) -> About:
    about = json.loads(listed)
    if not isinstance(about, dict) or about.get("hash") != part.name.partition("-")[0]:
        raise DamagedError("its list belongs to another part")
    values = Checked(about)
    peak, rms = values.number("peak", low=0), values.number("rms", low=0)
    values.integer("clipped", low=0)
    beat_in(about)
    about = {name: about[name] for name in About.__annotations__ if name in about}
    if about.get("is_earlier"):
        return cast(About, about)
    size = part.stat().st_size
    if size % 2 or not size or about.get("size", size // 2) != size // 2:
        raise DamagedError(f"it has {size} bytes")
    pcm = np.memmap(part, "<i2", mode="r")
    checksum = crc(pcm)
    if about.get("checksum", checksum) != checksum:
        raise DamagedError("its checksum differs")
    if "checksum" not in about and not np.allclose(_level(pcm), (peak, rms), rtol=_SAME_LEVEL, atol=0):
        raise DamagedError("its level differs")  # an older version wrote it, without size and checksum
    about.update(checksum=checksum, size=size // 2)
    return cast(About, about)


def _level(pcm: np.ndarray) -> tuple[float, float]:
    """Returns peak and RMS, 1.0 = full scale."""
    peak = energy = 0.0
    for start in range(0, len(pcm), _BLOCK_SIZE):
        block = pcm[start : start + _BLOCK_SIZE].astype(np.float32)
        peak, energy = max(peak, float(np.abs(block).max())), energy + float(np.dot(block, block))
    return peak / 32768, (energy / len(pcm)) ** 0.5 / 32768
