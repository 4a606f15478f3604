"""The chain of generators behind `stream`: decode, mix down, resample, filter, clip, cut into blocks."""

import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt, sosfilt_zi

if TYPE_CHECKING:
    from av.container import InputContainer

logger = logging.getLogger(__name__)

Decoder = tuple[int, Iterator[np.ndarray]]

DECODED_FRAMES = 1 << 17
# libsndfile reads the formats with the first suffixes. Those with the suffixes below need the optional extra `av`.
SNDFILE_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus"),
    *(".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)
AV_SUFFIXES = (".m4a", ".m4b", ".mp4", ".aac", ".wma", ".asf", ".webm", ".mka", ".ac3", ".ape", ".wv", ".tta")
_UNRECOGNIZED, SYSTEM_ERROR = 1, 2  # libsndfile's error codes: unknown format, error of the system
# libsndfile opens a PCM file that was cut short without an error; only its log shows the missing bytes.
_CUT_OFF = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF0000  # a sound that was written to a pipe has this length in its header: until the end
_MP3_PADDING = 2 * 1441  # bytes of two largest frames: a decoder may leave them unread at the end of a complete file
_INEXACT_FRAMES = 4096  # the length of an Ogg stream is known to within a packet


def prepared(path: Path, sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
    """Yields the samples of a file at `sample_rate`, filtered, in chunks of any size."""
    total = 0
    with _decoder(path) as (rate, chunks):
        for chunk in _high_passed(_resampled(_finite(path, chunks), rate, sample_rate), sample_rate, high_pass_hz):
            total += chunk.size
            yield chunk
    if not total:
        raise ValueError(f"An audio file must hold samples. Received: {str(path)!r}, which decodes to none.")


@contextmanager
def _decoder(path: Path) -> Iterator[Decoder]:
    """Yields (sample rate, mono chunks) of a file: from libsndfile, or from PyAV for formats unknown to libsndfile."""
    try:
        file = soundfile.SoundFile(file_name(path))
    except soundfile.LibsndfileError as error:
        if error.code != _UNRECOGNIZED:
            raise _unreadable(path, error.error_string) from error
        with _open_av(path) as container:
            yield container.streams.audio[0].rate, _av_chunks(path, container)
        return
    with file:
        yield file.samplerate, _mp3_chunks(path) if file.format == "MP3" else _sndfile_chunks(path, file)


def _sndfile_chunks(path: Path, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    _refuse_cut_off(path, file)
    buffer = np.empty((DECODED_FRAMES, file.channels), np.float32)
    done = 0
    while True:
        try:
            block = file.read(out=buffer)
        except soundfile.LibsndfileError as error:
            raise _broken(path, done, file.samplerate, error.error_string, within=len(buffer)) from error
        if not len(block):
            break
        done += len(block)
        yield _mixed(block)
    missing = file.frames - done
    if missing <= _INEXACT_FRAMES:
        return
    if file.format == "MP3":  # the length in an MP3 header is often an estimate
        if missing > file.frames / 10:
            logger.warning("%r: its header promises %d samples, only %d were found.", str(path), file.frames, done)
        return
    raise _broken(path, done, file.samplerate, f"{missing} samples are missing")


def _mp3_chunks(path: Path) -> Iterator[np.ndarray]:
    """Yields the chunks of an MP3 file, including frames after the end that its first frame declares.

    libsndfile stops at the declared end. If more frames follow, PyAV decodes the file again and the samples that
    libsndfile gave are skipped.
    """
    done = 0
    with open(path, "rb") as raw, soundfile.SoundFile(raw) as file:
        rate = file.samplerate
        for chunk in _sndfile_chunks(path, file):
            done += chunk.size
            yield chunk
        left = path.stat().st_size - raw.tell()
        start = raw.read(3)
    is_frame = start[:1] == b"\xff" and start[1:2] >= b"\xe0"
    if left <= _MP3_PADDING or not (is_frame or start == b"ID3"):  # the file ends here, or players appended tags
        return
    if importlib.util.find_spec("av") is None:
        raise ImportError(
            f"{str(path)!r} goes on after the {done / rate:.1f} s that its beginning promises. "
            'Reading on needs the extra `av`: pip install "gruvlike[av]".'
        )
    with _open_av(path) as container:
        for chunk in _av_chunks(path, container):
            skipped = min(done, chunk.size)
            done -= skipped
            yield chunk[skipped:]


def _refuse_cut_off(path: Path, file: soundfile.SoundFile) -> None:
    match = _CUT_OFF.search(file.extra_info)
    if match:
        promised, present = int(match[1]), int(match[2])
        if present < promised < _UNKNOWN_LENGTH:
            reason = f"its header promises {promised} bytes of samples, {present} are there"
            raise _broken(path, file.frames, file.samplerate, reason)


def _open_av(path: Path) -> "InputContainer":
    advice = 'M4A, AAC, WMA and the like need the extra `av`: pip install "gruvlike[av]".'
    try:
        import av
    except ImportError as error:
        if path.suffix.lower() in SNDFILE_SUFFIXES:
            raise _unreadable(path, f"format not recognized. ({advice})") from error
        raise ImportError(f"{str(path)!r} is in no format that libsndfile reads. {advice}") from error
    try:
        container = av.open(os.fsdecode(path))
    except av.FFmpegError as error:
        raise _unreadable(path, str(error.strerror)) from error
    if not container.streams.audio:
        container.close()
        raise _unreadable(path, "it has no audio stream.")
    return container


def _av_chunks(path: Path, container: "InputContainer") -> Iterator[np.ndarray]:
    import av

    stream = container.streams.audio[0]
    # The resampler only scales integers to floats: rate and channels stay.
    planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    done = 0
    try:
        for frame in container.decode(stream):
            for part in planar.resample(frame):
                done += part.samples
                yield _mixed(part.to_ndarray().T)
    except av.FFmpegError as error:
        raise _broken(path, done, stream.rate, str(error.strerror)) from error


def _unreadable(path: Path, reason: str) -> ValueError:
    # libsndfile reports "File does not exist" for an MP3 file that exists but is damaged.
    reason = "the file is damaged." if "does not exist" in reason else reason
    return ValueError(f"The file must be readable audio. Received: {str(path)!r}: {reason}")


def _broken(path: Path, done: int, rate: int, reason: str, within: int = 0) -> ValueError:
    where = (
        f"after {done / rate:.2f} s" if not within else f"between {done / rate:.2f} and {(done + within) / rate:.2f} s"
    )
    return ValueError(
        f"The file must be whole. Received: {str(path)!r}, which breaks off {where}: {reason.rstrip('.')}. "
        "Get it anew, or cut it there with an audio editor."
    )


def _mixed(block: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels: (n, channels) -> (n,). Adding columns is ten times as fast as `mean`."""
    mono = block[:, 0].copy()
    with np.errstate(invalid="ignore", over="ignore"):  # `_finite` counts NaN and infinite samples afterwards
        for channel in block.T[1:]:
            mono += channel
    if block.shape[1] > 1:
        mono *= np.float32(1 / block.shape[1])
    return mono


def _finite(path: Path, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    bad = total = 0
    for chunk in chunks:
        total += chunk.size
        finite = np.isfinite(chunk)
        if not finite.all():
            bad += int(np.count_nonzero(~finite))
        elif not bad:  # after a bad chunk the rest is only counted, for the error
            yield chunk
    if bad:
        raise ValueError(
            f"Samples must be finite. Received: {str(path)!r}, where {bad} of {total} are NaN or infinite. "
            "Export the file anew, as 16 or 24-bit PCM."
        )


def _resampled(chunks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    if rate == sample_rate:
        yield from chunks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for chunk in chunks:
        yield resampler.resample_chunk(chunk)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _high_passed(chunks: Iterable[np.ndarray], sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
    if high_pass_hz is None:
        yield from chunks
        return
    # The filter runs in float64: for 20 Hz at 44.1 kHz its poles lie too near to 1 for float32.
    sections = butter(2, high_pass_hz, "highpass", fs=sample_rate, output="sos")
    state = None
    for chunk in chunks:
        if chunk.size:
            state = sosfilt_zi(sections) * chunk[0] if state is None else state
            filtered, state = sosfilt(sections, chunk, zi=state)
            yield filtered.astype(np.float32)


def clipped(path: Path, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields chunks with samples in [-1, 1], and logs how many were beyond."""
    over, peak = 0, 1.0
    for chunk in chunks:
        loudest = float(np.max(np.abs(chunk), initial=0))
        if loudest > 1:
            over += int(np.count_nonzero(np.abs(chunk) > 1))
            peak = max(peak, loudest)
            chunk = np.clip(chunk, -1, 1)
        yield chunk
    if over:
        logger.info("%r: %d samples beyond full scale (peak %.3f) were clipped.", str(path), over, peak)


def reblocked(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yields the samples of all chunks in blocks of one size; the last one may be shorter."""
    block, filled = np.empty(size, np.float32), 0
    for chunk in chunks:
        while chunk.size:
            taken = min(size - filled, chunk.size)
            block[filled : filled + taken] = chunk[:taken]
            filled, chunk = filled + taken, chunk[taken:]
            if filled == size:
                yield block
                block, filled = np.empty(size, np.float32), 0
    if filled:
        yield block[:filled]


def file_name(path: Path) -> Path | bytes:
    """Returns `path` in the form for soundfile, which itself cannot encode file names that are no UTF-8."""
    return os.fsencode(path) if os.name == "posix" else path
