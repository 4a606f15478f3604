"""Building a corpus: files are prepared in parallel into parts beside the target, then joined in one move.

A part is the PCM of one track under the hash of its source. An interrupted build leaves its parts behind, and the next
build finds them. Nothing large travels between workers and the parent, so any executor will do and memory stays
constant.
"""

import functools
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gruvlike import audio
from gruvlike._files import replacing
from gruvlike.corpus import _beats, _file, _parallel, _parts, _space
from gruvlike.corpus._parts import About
from gruvlike.corpus._track import Track, crc
from gruvlike.rhythm._beat import find as find_beat

logger = logging.getLogger(__name__)

# A sound is silent if no sample exceeds three steps of 16 bits: dither on digital silence reaches as far.
SILENCE = 3 / 32768
_BLOCK_SIZE = 1 << 18
_PREPARATION = 2  # counts changes of the samples that a file becomes: parts of another number are not used

Paths = str | os.PathLike | Iterable[str | os.PathLike]


class _UnusableError(Exception):
    """A file that is left out, with the reason."""


class _StoppedError(Exception):
    """The build was interrupted."""


def build(
    paths: Paths, file: Path, sample_rate: int, high_pass_hz: float | None, executor: Executor | None, strict: bool
) -> list[tuple[str, str]]:
    """Writes the corpus `file` and returns the files that were left out: (path, reason)."""
    sources, unread = _sources(paths)
    earlier = _earlier(file)  # refuses a file of another kind before anything is made
    at_hand = sum(map(len, earlier.tracks)) if earlier and _agree(earlier, sample_rate, high_pass_hz) else 0
    _space.require(file, sources, sample_rate, at_hand)
    rule = (
        f"A corpus is built by one process at a time. Received: {str(file)!r}, which is being built now. "
        "Wait for that, or give another name."
    )
    with _parts.alone(file, rule) as folder:
        return _build(sources, unread, file, folder, sample_rate, high_pass_hz, executor, strict)


def _build(
    sources: list[Path],
    unread: list[tuple[str, str]],
    file: Path,
    folder: Path,
    sample_rate: int,
    high_pass_hz: float | None,
    executor: Executor | None,
    strict: bool,
) -> list[tuple[str, str]]:
    contents = _earlier(file)
    earlier = _parts.whole(contents.tracks) if contents and _agree(contents, sample_rate, high_pass_hz) else {}
    settings = f"{sample_rate}-{float(high_pass_hz or 0)!r}-v{_PREPARATION}"
    try:
        _parts.offer(folder, settings, earlier)
        prepare = functools.partial(
            _prepare, folder=folder, settings=settings, sample_rate=sample_rate, high_pass_hz=high_pass_hz
        )
        results = list(zip(sources, _run(prepare, sources, executor), strict=True))
        skipped = unread + [(str(source), reason) for source, reason in results if isinstance(reason, str)]
        kept = [(source, about) for source, about in results if not isinstance(about, str)]
        _report(skipped, kept, strict)
        _report_doubles(kept)
        _find_beats(kept, lambda digest: _pcm(folder, settings, earlier, digest), sample_rate)
        known = {digest for digest, track in earlier.items() if track.beat}
        _beats.warn_of_edges((s.name, _file.beat_in(a)) for s, a in kept if a["hash"] not in known)
        _report_leaving(contents.tracks if contents else (), kept)
        with replacing(file, sync=True) as temporary:
            tracks = ((_attributes(s, a), _pcm(folder, settings, earlier, a["hash"])) for s, a in kept)
            _file.write(temporary, sample_rate, high_pass_hz, tracks)
    except BaseException:  # Ctrl-C and a full disk count, too: the warning names the parts that are kept
        parts = len(_parts.files(folder, ".pcm"))
        if parts:
            logger.warning("Stopped. %d prepared tracks are kept in %r: build again to go on.", parts, str(folder))
        else:
            _parts.clear(folder)
        raise
    _parts.clear(folder)
    return skipped


def _earlier(file: Path) -> _file.Contents | None:
    """Returns the corpus that stands under that name; refuses a file of another kind."""
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f"The folder to write in must exist. Received: {str(file)!r}. Make {str(file.parent)!r} first."
        )
    if not file.exists():
        return None
    try:
        return _file.read(file)
    except ValueError as error:
        raise ValueError(f"{error} It is not overwritten: remove it, or give another name.") from error


def _agree(earlier: _file.Contents, sample_rate: int, high_pass_hz: float | None) -> bool:
    """Returns whether the tracks of an earlier corpus were prepared as the new ones are."""
    return (earlier.sample_rate, earlier.high_pass_hz) == (sample_rate, high_pass_hz)


def _sources(paths: Paths) -> tuple[list[Path], list[tuple[str, str]]]:
    """Returns the files to read, each once, and (path, reason) of those that look like sound and are not read.

    Args:
        paths: A file, a folder, or several of either.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    sources: dict[Path, None] = {}
    skipped: list[tuple[Path, str]] = []
    for path in map(Path, paths):
        try:
            if path.is_dir():
                sources.update(dict.fromkeys(audio.find(path, skipped)))
            elif path.exists():
                sources[path] = None
            else:
                raise FileNotFoundError(f"The music must exist. Received: {str(path)!r}.")
        except PermissionError as error:
            skipped.append((path, f"cannot be opened: {error.strerror}"))
    unread = [(str(path), reason) for path, reason in dict(skipped).items()]
    if not sources:
        listing = "".join(f"\n  {path!r}: {reason}" for path, reason in unread)
        raise ValueError(
            f"At least one audio file is needed. Received: {', '.join(map(str, paths)) or 'no path'}, where no file "
            f"has the suffix of an audio format (.wav, .flac, .ogg, .mp3, ...), or begins as one.{listing}"
        )
    return list(sources), unread


def _run(prepare: Callable[..., About | str], sources: list[Path], executor: Executor | None) -> list[About | str]:
    """Prepares all sources."""
    stop = None
    if executor is None:
        stop = threading.Event()
        prepare = functools.partial(prepare, stop=stop)
    return _parallel.run(
        prepare, sources, [_space.size_of(source) for source in sources], "Preparing", "file", executor, stop
    )


def _find_beats(kept: list[tuple[Path, About]], pcm: Callable[[str], np.ndarray], sample_rate: int) -> None:
    """Adds the beats of tracks that an older version prepared, from the PCM under their hashes."""
    lacking = [about for _, about in kept if _file.beat_in(about) is None]
    for about, beat in zip(lacking, _beats.find([pcm(a["hash"]) for a in lacking], sample_rate), strict=True):
        _parts.add_beat(about, beat)


def _prepare(
    source: Path,
    folder: Path,
    settings: str,
    sample_rate: int,
    high_pass_hz: float | None,
    stop: threading.Event | None = None,
) -> About | str:
    """Makes the part of one file (in a worker) and returns its attributes, or the reason why it is left out."""
    try:
        with _leaving_out(), open(source, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part = folder / f"{digest}-{settings}.pcm"
        known = _parts.known(part, source)
        if known is not None:
            return known
        with replacing(part, sync=True, sweep_first=False) as temporary, open(temporary, "wb") as out:
            about = _write_pcm(out, digest, _blocks(source, sample_rate, high_pass_hz), stop)
        _parts.add_beat(about, find_beat(np.memmap(part, "<i2", mode="r"), sample_rate))
        _parts.describe(part, about)
        return about
    except _UnusableError as reason:
        return str(reason)


def _blocks(source: Path, sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
    with _leaving_out():
        yield from audio.stream(source, sample_rate, _BLOCK_SIZE, high_pass_hz, clip=False)


@contextmanager
def _leaving_out() -> Iterator[None]:
    """Turns the errors of an unreadable file into `_UnusableError`, so that a full disk is not taken for one."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise _UnusableError(str(error)) from error


def _write_pcm(out: BinaryIO, digest: str, blocks: Iterable[np.ndarray], stop: threading.Event | None) -> About:
    peak = size = clipped = 0
    checksum, energy = 0, 0.0
    for block in blocks:
        if stop is not None and stop.is_set():
            raise _StoppedError
        pcm, over = audio._to_pcm(block)
        out.write(pcm.astype("<i2", copy=False).data)
        checksum = crc(pcm, checksum)
        peak = max(peak, int(pcm.max()), -int(pcm.min()))
        rounded = pcm.astype(np.float32)
        energy += float(np.dot(rounded, rounded))
        size, clipped = size + pcm.size, clipped + over
    if peak <= SILENCE * 32768:
        raise _UnusableError(f"silent: no sample of {size} is above {SILENCE:.1e} of full scale")
    about = About(hash=digest, peak=peak / 32768, rms=(energy / size) ** 0.5 / 32768, clipped=clipped)
    about["checksum"], about["size"] = checksum, size
    return about


def _report(skipped: list[tuple[str, str]], kept: list[tuple[Path, About]], strict: bool) -> None:
    total = len(skipped) + len(kept)
    listing = "".join(f"\n  {path!r}: {reason}" for path, reason in skipped)
    if not kept:
        raise ValueError(f"At least one file must be readable music. Received: {total}, none of them usable:{listing}")
    if skipped and strict:
        raise ValueError(
            f"With strict=True all files must be usable. Received: {len(skipped)} of {total} that are not:{listing}\n"
            "Remove or repair them, or build with strict=False."
        )
    if skipped:
        logger.warning("%d of %d files were left out:%s", len(skipped), total, listing)
    clipped = [about["clipped"] for _, about in kept if about["clipped"]]
    if clipped:
        logger.warning("%d samples in %d tracks were beyond full scale and are clipped.", sum(clipped), len(clipped))


def _report_doubles(kept: list[tuple[Path, About]]) -> None:
    """Logs which files hold the same music, sample for sample."""
    equal: dict[tuple[int, int], list[str]] = {}
    for source, about in kept:
        equal.setdefault((about["size"], about["checksum"]), []).append(str(source))
    doubles = [sources for sources in equal.values() if len(sources) > 1]
    if doubles:
        logger.warning(
            "%d tracks repeat the music of another one, sample for sample. All are kept, and count so often; a split "
            "keeps them together:%s",
            sum(map(len, doubles)) - len(doubles),
            "".join(f"\n  {' = '.join(map(repr, sources))}" for sources in doubles),
        )


def _report_leaving(earlier: Sequence[Track], kept: list[tuple[Path, About]]) -> None:
    """Logs which music of the earlier corpus is not in the new one: neither as it was nor as its file is now."""
    hashes, sources = {about["hash"] for _, about in kept}, {str(source) for source, _ in kept}
    leaving = [track for track in earlier if track.hash not in hashes and track.source not in sources]
    if leaving:
        logger.warning(
            "%d of %d tracks of the earlier corpus are not in the new one: their files are not in this build, or not "
            "usable. To keep them, build from all music together:%s",
            *(len(leaving), len(earlier), "".join(f"\n  {track.source!r}" for track in leaving)),
        )


def _attributes(source: Path, about: About) -> dict[str, object]:
    return {"name": source.name, "source": str(source), **about}


def _pcm(folder: Path, settings: str, earlier: dict[str, Track], digest: str) -> np.ndarray:
    part = folder / f"{digest}-{settings}.pcm"
    return np.memmap(part, "<i2", mode="r") if part.exists() else earlier[digest].pcm
