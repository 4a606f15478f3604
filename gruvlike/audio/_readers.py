"""The samples of a file of any format: from libsndfile, and from PyAV where libsndfile fails.

A reader is chosen by the content of a file, not by its name. Whatever a reader raises becomes an error here that names
the file and says why each of them failed.
"""

import logging
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

from gruvlike.audio import _pyav, _sndfile, _structure, _suffixes
from gruvlike.audio._sound import Chunk, FaultError
from gruvlike.audio._views import Look, Part, View

logger = logging.getLogger(__name__)

_ROUNDED, _INEXACT = 0.001, 0.05  # seconds
_TOO_SHORT = 1.0  # seconds that frames may lack because they are damaged
_STRAY = 0.05  # share by which a length may differ from that by the bytes a second


def chunks(path: Path) -> Iterator[Chunk]:
    """Yields the chunks of a file, and logs a warning where its length is in doubt.

    Raises:
        ValueError: If the file is no sound, or is not whole.
        OSError: If the system cannot read it.
        ImportError: If only PyAV might read it, and is not installed.
    """
    try:
        look = _look(path)
        seconds = 0.0
        for part in look.parts:
            for chunk in _of_part(path, look, part):
                seconds += len(chunk.block) / chunk.rate
                yield chunk
        _tell_doubts(path, look, seconds)
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, f"{error.strerror or error}: it cannot be read", str(path)) from error


def _look(path: Path) -> Look:
    try:
        look = _structure.look(path)
    except OSError:
        raise
    except Exception as error:  # a damaged file can make a parser raise anything
        raise _unreadable(path, f"its structure: {type(error).__name__}: {error}") from error
    if look.damage:
        raise _broken(path, FaultError(look.damage[1], at=look.damage[0]))
    return look


def _of_part(path: Path, look: Look, part: Part) -> Iterator[Chunk]:
    """Yields the chunks of a part: PyAV goes on where libsndfile stops before the end."""
    done, first = 0.0, None
    wanted = look.promised / max(look.present, 1) if look.cut and look.promised else 1.0
    try:
        for chunk in _guarded("libsndfile", _from_sndfile(path, look, part, wanted)):
            yield chunk
            done += len(chunk.block) / chunk.rate
        if done > look.seconds - _ROUNDED:
            return
    except FaultError as fault:
        first = fault
    started = first is not None and first.at is not None
    if first and started and (wanted > 1 or not _pyav.is_there()):
        raise _broken(path, first)
    if not _pyav.is_there():
        if first is None and done > look.seconds - _TOO_SHORT:
            logger.warning("%r: %s.", str(path), _told(look.seconds, done))
            return
        raise _without_av(path, done, first)
    try:
        for chunk in _after(done, _guarded("PyAV", _from_pyav(path, part, wanted, strict=started))):
            yield chunk
            done += len(chunk.block) / chunk.rate
    except FaultError as fault:
        raise _both(path, done, first, fault) from fault
    _compare(path, look, first, done)


def _compare(path: Path, look: Look, first: FaultError | None, done: float) -> None:
    """Raises if PyAV, too, came to fewer seconds than the file promises; logs where they are little fewer, or more."""
    promised = first.promised if first else 0.0
    if done < promised - _INEXACT:
        raise _broken(path, FaultError(f"{first}; {_told(promised, done)}", at=done))
    if done < look.seconds - _TOO_SHORT:
        raise _broken(path, FaultError(_told(look.seconds, done), at=done))
    if done < look.seconds - _ROUNDED or 0 < promised < done - _INEXACT:
        logger.warning("%r: %s.", str(path), _told(look.seconds or promised, done))


def _told(promised: float, done: float) -> str:
    return f"its header promises {promised:.2f} s, {done:.2f} s are there"


def _from_sndfile(path: Path, look: Look, part: Part, wanted: float) -> Iterator[Chunk]:
    with nullcontext(path) if look.by_name else closing(View(path, part)) as source:
        yield from _sndfile.chunks(source, wanted, counted=look.seconds > 0)


def _from_pyav(path: Path, part: Part, wanted: float, strict: bool) -> Iterator[Chunk]:
    with closing(View(path, part)) as source:
        yield from _pyav.chunks(source, wanted, str(path), strict)


def _guarded(reader: str, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yields the chunks of a reader, whose every error becomes a `FaultError` with its name."""
    seconds = None
    try:
        for chunk in chunks:
            seconds = (seconds or 0.0) + len(chunk.block) / chunk.rate
            yield chunk
    except FaultError as fault:
        raise FaultError(f"{reader}: {fault}", fault.at, fault.within, fault.promised) from fault
    except Exception as error:  # a damaged file can make a reader raise anything
        raise FaultError(f"{reader}: {type(error).__name__}: {error}", at=seconds) from error


def _after(seconds: float, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yields the chunks behind the first `seconds`, which another reader gave."""
    for rate, block in chunks:
        skipped = min(round(seconds * rate), len(block))
        seconds -= skipped / rate
        if skipped < len(block):
            yield Chunk(rate, block[skipped:])


def _both(path: Path, done: float, first: FaultError | None, second: FaultError) -> ValueError:
    """Returns the error for a file that neither reader reads to its end."""
    reasons = f"{first}; {second}" if first else f"it goes on, but {second}"
    places = [fault.at for fault in (first, second) if fault and fault.at is not None]
    if not places and not done:
        return _unreadable(path, reasons)
    within = first.within if first and first.at is not None and second.at is None else 0.0
    return _broken(path, FaultError(reasons, at=max([*places, 0.0]), within=within))


def _broken(path: Path, fault: FaultError) -> ValueError:
    """Returns the error for a file that ends, or is damaged, after some seconds."""
    at = fault.at or 0.0
    where = f"between {at:.2f} and {at + fault.within:.2f} s" if fault.within else f"after {at:.2f} s"
    return ValueError(
        f"The file must be whole. Received: {str(path)!r}, which breaks off {where}: {fault}. "
        "Get it anew, or cut it there with an audio editor."
    )


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"The file must be readable audio. Received: {str(path)!r}: {reason}.")


def _without_av(path: Path, done: float, first: FaultError | None) -> Exception:
    """Returns the error for a file that PyAV might read, if it were installed."""
    if first is None:
        return ImportError(
            f"{str(path)!r} goes on after the {done:.1f} s that its beginning promises. "
            'Reading on needs the extra `av`: pip install "gruvlike[av]".'
        )
    if path.suffix.lower() in _suffixes.SNDFILE:
        return _unreadable(path, f"{first}. ({_pyav.ADVICE})")
    return ImportError(f"{str(path)!r} is in no format that libsndfile reads. {_pyav.ADVICE}")


def _tell_doubts(path: Path, look: Look, seconds: float) -> None:
    """Logs where the header and the sound that was read disagree."""
    if look.note:
        logger.warning("%r: %s.", str(path), look.note)
    if look.promised is not None and look.present:
        promised = seconds * look.promised / look.present
        logger.warning("%r: its header promises %.2f s; %.2f s are there, and are read.", str(path), promised, seconds)
    elif look.about and abs(seconds - look.about) > max(_STRAY * look.about, _INEXACT):
        text = "%r: by another number of its header it has %.2f s, and %.2f s were read. Is its sample rate right?"
        logger.warning(text, str(path), look.about, seconds)
