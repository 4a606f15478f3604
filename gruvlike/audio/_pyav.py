"""Sound from PyAV, the libraries of FFmpeg: M4A, AAC, WMA, Matroska, APE, WavPack and the sound of videos."""

import importlib.util
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gruvlike.audio._sound import Chunk, FaultError
from gruvlike.audio._views import View

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

logger = logging.getLogger(__name__)

ADVICE = 'M4A, AAC, WMA and the like need the extra `av`: pip install "gruvlike[av]".'
_FRAMES = 1 << 17
_STEADY = 0.05  # seconds by which the times of frames may be inexact
_SHORT = 0.1  # seconds by which a sound may be shorter than its header says, without a word
_LEAD = 2048  # samples that an encoder puts in front, which the length of a Matroska file counts and a decoder drops
_TOO_SHORT = 1.0  # from here on the file is refused
_TOLERATED = 0.1  # share of damaged sound in files that players play all the same
# The lengths of these formats are in their headers, of some in that of the sound; FFmpeg estimates those of others.
_BY_STREAM = ("mov", "avi", "ape", "wv", "tta", "tak", "mpc", "mpc8", "dsf", "wav", "w64", "caf", "aiff")
_EXACT = (*_BY_STREAM, "matroska", "asf", "flv")
_CHAINED = ("matroska,webm", "flv", "asf")  # each packet stands behind the one before, and little else does
_REST = 1024  # bytes behind the last packet that need no word
_COUNTED = ("mp3", "aac")  # the damage to these was seen by their frames


@dataclass
class _Tally:
    """How far a file was decoded, in seconds, and the sound that was lost on the way."""

    seconds: float = 0.0
    next_time: float | None = None
    lost: list[tuple[float, float]] = field(default_factory=list)  # (place, seconds) of packets that were damaged
    gaps: list[tuple[float, float]] = field(default_factory=list)  # of frames that are missing
    stopped: str = ""  # why FFmpeg ended before the end
    end: int = 0  # the byte behind the last packet

    def count(self, frame: "AudioFrame") -> None:
        """Adds a frame, and the gap before it."""
        length = frame.samples / frame.sample_rate
        time = None if frame.pts is None or not frame.time_base else float(frame.pts * frame.time_base)
        if time is not None and self.next_time is not None and time - self.next_time > _STEADY:
            self.gaps.append((self.seconds, time - self.next_time))
        begin = self.next_time if time is None else time
        self.next_time = None if begin is None else begin + length
        self.seconds += length


def is_there() -> bool:
    """Says whether the extra `av` is installed."""
    try:
        return importlib.util.find_spec("av") is not None
    except ValueError:  # `sys.modules` says that there is no such module
        return False


def chunks(source: View, wanted: float, name: str, strict: bool = False) -> Iterator[Chunk]:
    """Yields the chunks of a file.

    Args:
        source: The file. It has no name, so that FFmpeg goes by its content and opens no other file.
        wanted: How much longer than the file the sound is that its header promises: 1 for a whole one.
        name: The file in messages.
        strict: Whether each damaged checksum is a fault.
    """
    import av

    try:
        # A playlist, or a movie with its sound elsewhere, names other files and addresses: none of them is opened.
        container = av.open(source, "r", options={"protocol_whitelist": "none"}, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise FaultError(str(getattr(error, "strerror", None) or error)) from error
    with container:
        if not container.streams.audio:
            raise FaultError("it has no audio stream")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise FaultError("its codec is not known")
        tolerant = container.format.name in _COUNTED or stream.codec_context.name.startswith("mp")
        if strict and not tolerant:
            stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        tally = _Tally()
        yield from _joined(_frames(container, stream, tally))
        lead = _LEAD / stream.rate if "matroska" in container.format.name else 0.0
        tolerated = tally.seconds * _TOLERATED if tolerant else 0.0 if strict else _SHORT
        promised = _promised(container, stream, tally)
        if not promised and container.format.name in _CHAINED and not container.streams.video:
            _warn_of_rest(tally, container.size, name)
        _judge(tally, promised - lead, wanted, name, tolerated)


def _warn_of_rest(tally: _Tally, size: int, name: str) -> None:
    """Says where the sound ends in a file that tells no length: FFmpeg may have lost the chain of packets there."""
    if size - tally.end > _REST:
        place = (tally.seconds, tally.end, size)
        logger.warning(
            "%r: its header tells no length, and its sound ends after %.2f s, at byte %d of %d: damage, or a file that "
            "holds other things than sound.",
            *(name, *place),
        )


def _frames(container: "InputContainer", stream: "AudioStream", tally: _Tally) -> Iterator["AudioFrame"]:
    """Yields the frames of all packets that can be decoded, and notes the others."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            tally.stopped = str(error.strerror)
            return
        tally.end = max(tally.end, (packet.pos or 0) + packet.size)
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            if packet.size:  # the last packet is empty, and asks for the samples that are left
                tally.lost.append((tally.seconds, float((packet.duration or 0) * (packet.time_base or 0))))
            continue
        for frame in decoded:
            tally.count(frame)
            yield frame


def _joined(frames: Iterable["AudioFrame"]) -> Iterator[Chunk]:
    """Makes chunks of float samples of many small frames; rate and channels of a chunk are those of its frames."""
    import av

    kind, scaler, waiting = None, None, list[np.ndarray]()
    for frame in frames:
        now = (frame.sample_rate, frame.layout.name, frame.format.name)
        if kind != now or sum(map(len, waiting)) >= _FRAMES:
            if kind and waiting:
                yield Chunk(kind[0], np.concatenate(waiting))
            waiting = []
        if scaler is None or kind != now:
            # It only scales integers to floats: rate and channels stay. Channels come interleaved, because PyAV reads
            # behind the end of its list where more than eight of them come apart, which can end the process.
            scaler = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
        kind = now
        waiting += [part.to_ndarray().reshape(-1, frame.layout.nb_channels) for part in scaler.resample(frame)]
    if kind and waiting:
        yield Chunk(kind[0], np.concatenate(waiting))


def _promised(container: "InputContainer", stream: "AudioStream", tally: _Tally) -> float:
    """Returns the seconds that the header promises; 0 where nobody knows."""
    formats = container.format.name.split(",")
    if not any(one in _EXACT for one in formats) or (formats == ["wav"] and not tally.lost):
        return 0.0
    if not any(one in _BY_STREAM for one in formats) and container.streams.video:  # the length of the video, perhaps
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _judge(tally: _Tally, promised: float, wanted: float, name: str, tolerated: float) -> None:
    """Raises if sound is missing, or says how many seconds are, where they are few."""
    damaged = sum(seconds for _, seconds in tally.lost)
    if not tally.seconds:
        raise FaultError(tally.stopped or "no packet of it can be decoded")
    if tally.lost and (damaged > tolerated or not tolerated):
        raise FaultError(f"{len(tally.lost)} packets ({damaged:.2f} s) cannot be decoded", at=tally.lost[0][0])
    if tally.stopped and tally.seconds < promised - _STEADY:
        raise FaultError(tally.stopped, at=tally.seconds)
    missing = sum(seconds for _, seconds in tally.gaps)
    short = promised - tally.seconds
    if wanted > 1 or short - missing > _TOO_SHORT:
        promised = promised if short > _SHORT else tally.seconds * wanted
        reason = f"its header promises {promised:.2f} s, {tally.seconds:.2f} s are there"
        raise FaultError(reason, at=tally.seconds)
    if tally.lost or (tally.stopped and promised <= 0):
        logger.warning("%r: %d packets cannot be decoded, %.2f s.", name, max(len(tally.lost), 1), damaged)
    if tally.gaps:
        place = tally.gaps[0][0]
        logger.warning("%r: %.2f s are missing in it, the first of them after %.2f s.", name, missing, place)
    elif promised > 0 and abs(short) > _SHORT:
        logger.warning("%r: its header promises %.2f s, %.2f s were found.", name, promised, tally.seconds)
