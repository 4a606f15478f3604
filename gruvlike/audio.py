"""Files <-> mono float32 samples.

Conventions: samples are mono, float32, in [-1, 1], of shape (S,). Channels are mixed down by their mean. Integer
formats are scaled by their declared depth (full scale = 1.0). Lossy formats and resampling can overshoot full scale:
such samples are clipped, counted and logged. Files are decoded in blocks, so that `stream` needs no more memory for
three hours than for three minutes. `read` joins the blocks of `stream`.
"""

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt, sosfilt_zi

from gruvlike._checks import mono, number, positive_int
from gruvlike._files import replacing

if TYPE_CHECKING:
    from av.container import InputContainer

logger = logging.getLogger(__name__)

Decoder = tuple[int, Iterator[np.ndarray]]

_DECODED_FRAMES = 1 << 17
# Suffixes of the formats that libsndfile reads; below, of those that need the optional extra `av`.
_SNDFILE_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus"),
    *(".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)
_AV_SUFFIXES = (".m4a", ".m4b", ".mp4", ".aac", ".wma", ".asf", ".webm", ".mka", ".ac3", ".ape", ".wv", ".tta")
_UNRECOGNIZED, _SYSTEM_ERROR = 1, 2  # libsndfile's error codes: unknown format, error of the system
# libsndfile opens a PCM file that was cut short without an error; only its log shows the missing bytes.
_CUT_OFF = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF0000  # the length in the header of a sound that was written to a pipe: until the end
_MP3_PADDING = 2 * 1441  # bytes of two largest frames: a decoder may leave them unread at the end of a complete file
_INEXACT_FRAMES = 4096  # the length of an Ogg stream is known to within a packet


def find(folder: str | os.PathLike) -> list[Path]:
    """Lists the audio files in `folder` and below, sorted by path.

    Files are chosen by their suffix, in upper or lower case. Hidden files and folders (".name") are left out, because
    other programs keep their own data in them. Links to folders are followed. Each folder is visited once, so a loop of
    links ends.

    Args:
        folder: The folder to search.

    Returns:
        A list of paths, empty when there is no audio.

    Raises:
        FileNotFoundError, NotADirectoryError: If `folder` is no folder.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.wav", "a.MP3", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in find(folder)]
        ['a.MP3', 'b.wav']
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"The folder to search must exist. Received: {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"A folder to search is needed. Received: {str(folder)!r}, which is a file.")
    found, seen, waiting = [], set(), [folder]
    while waiting:
        current = waiting.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in os.listdir(current):
            path = current / name
            if name.startswith("."):
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.suffix.lower() in _SNDFILE_SUFFIXES + _AV_SUFFIXES and path.is_file():
                found.append(path)
        waiting.sort(reverse=True)
    return sorted(found)


def read(path: str | os.PathLike, sample_rate: int, high_pass_hz: float | None = None, clip: bool = True) -> np.ndarray:
    """Reads a whole audio file as mono samples.

    Args:
        path: An audio file: WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF and others. M4A, AAC, WMA and others need the extra
            `av` (`pip install "gruvlike[av]"`).
        sample_rate: Samples per second of the result. A file with another rate is resampled.
        high_pass_hz: Cutoff of a high-pass filter that removes DC and infrasound, as in `Corpus.build`. `None` does
            not filter.
        clip: Whether samples beyond full scale are clipped to [-1, 1] (and logged).

    Returns:
        Float32 samples of shape (S,).

    Raises:
        ValueError: If the file is no audio, is damaged, holds no samples, or holds NaN or infinite samples.
        OSError: If the file does not exist or must not be read.
        ImportError: If the format needs the extra `av`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/tone.wav", np.sin(np.arange(800) / 5) / 2, sample_rate=8000)
        ...     read(f"{folder}/tone.wav", sample_rate=16000).shape
        (1600,)
    """
    return np.concatenate(list(stream(path, sample_rate, high_pass_hz=high_pass_hz, clip=clip)))


def stream(
    path: str | os.PathLike,
    sample_rate: int,
    block_size: int = 65_536,
    high_pass_hz: float | None = None,
    clip: bool = True,
) -> Iterator[np.ndarray]:
    """Reads an audio file block by block, in constant memory: the same samples as `read`, whatever the block size.

    The high-pass is a causal Butterworth filter of second order. It starts settled on the first sample, so that a
    constant offset makes no click at the start.

    Args:
        path: An audio file, see `read`.
        sample_rate: Samples per second of the result.
        block_size: Samples a block.
        high_pass_hz: Cutoff of a high-pass filter, see `read`.
        clip: Whether samples beyond full scale are clipped to [-1, 1] (and logged).

    Returns:
        An iterator of float32 blocks of shape (block_size,); the last one may be shorter.

    Raises:
        ValueError: As in `read`. Damage in the middle of a file is raised when the stream reaches it.
        OSError: As in `read`.
        ImportError: As in `read`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/tone.wav", np.sin(np.arange(800) / 5) / 2, sample_rate=8000)
        ...     [block.size for block in stream(f"{folder}/tone.wav", sample_rate=8000, block_size=300)]
        [300, 300, 200]
    """
    path = Path(path)
    sample_rate = positive_int("sample_rate", sample_rate)
    block_size = positive_int("block_size", block_size)
    if high_pass_hz is not None:
        number("high_pass_hz", high_pass_hz, low=0, high=sample_rate / 2, open_low=True)
        if high_pass_hz == sample_rate / 2:
            raise ValueError(f"`high_pass_hz` must be below sample_rate / 2. Received: high_pass_hz={high_pass_hz}.")
    with open(path, "rb") as file:  # raises OSError for a missing or forbidden file or a folder
        if not file.read(1):
            raise ValueError(f"An audio file must hold samples. Received: {str(path)!r}, which has 0 bytes.")
    chunks = _prepared(path, sample_rate, high_pass_hz)
    return _reblocked(_clipped(path, chunks) if clip else chunks, block_size)


def write(path: str | os.PathLike, samples: np.ndarray, sample_rate: int, subtype: str | None = None) -> None:
    """Writes mono samples to an audio file; the format follows from the suffix.

    The file is complete before it takes its name: an earlier file of that name is replaced in one move.

    Args:
        path: The file to write: `.wav`, `.flac`, `.ogg`, `.opus`, `.mp3`, `.aiff` or another suffix of a format that
            libsndfile writes.
        samples: Float samples in [-1, 1] or int16 PCM, of shape (S,).
        sample_rate: Samples per second.
        subtype: The sample format, as libsndfile names it: "PCM_16", "PCM_24", "FLOAT", ... `None` takes the default of
            the file format: 16-bit PCM for WAV, FLAC and AIFF.

    Raises:
        ValueError: If samples are not mono and finite, or if the file format has no such subtype.
        OSError: If the file cannot be written.

    Warns:
        UserWarning: If samples were beyond full scale. They are clipped, never wrapped.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/ramp.wav", np.linspace(0, 0.5, 3), sample_rate=8000)
        ...     read(f"{folder}/ramp.wav", sample_rate=8000)
        array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    path = Path(path)
    samples = mono("samples", samples)
    sample_rate = positive_int("sample_rate", sample_rate)
    kind, subtype = _format(path, subtype)
    if subtype == "PCM_16":
        samples, over = _to_pcm(samples)
    else:
        over = int(np.count_nonzero(np.abs(samples) > 1))
        samples = np.clip(samples, -1, 1)
    if over:
        warnings.warn(
            f"{over} of {len(samples)} samples were beyond full scale and are clipped in {str(path)!r}.", stacklevel=2
        )
    with replacing(path) as temporary:
        try:
            with soundfile.SoundFile(_name(temporary), "w", sample_rate, 1, subtype, format=kind) as file:
                for start in range(0, len(samples), _DECODED_FRAMES):
                    file.write(samples[start : start + _DECODED_FRAMES])
        except soundfile.LibsndfileError as error:
            reason = "the system refused. Is the disk full?" if error.code == _SYSTEM_ERROR else error.error_string
            raise OSError(f"{str(path)!r} could not be written: {reason}") from error


def _to_pcm(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Rounds float samples to int16 PCM (samples = pcm / 32768), and clips samples beyond full scale.

    Args:
        samples: Finite float32 samples of shape (S,).

    Returns:
        PCM, int16 of shape (S,), and the number of samples that were beyond [-1, 1].

    Example:
        >>> _to_pcm(np.array([0.0, 0.5, 1.0, -1.5], "float32"))
        (array([     0,  16384,  32767, -32768], dtype=int16), 1)
    """
    over = 0
    if max(np.max(samples, initial=0), -np.min(samples, initial=0)) > 1:  # most sounds need no count
        over = int(np.count_nonzero(np.abs(samples) > 1))
    scaled = samples * np.float32(32768)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16), over


# The functions below are the chain of generators behind `stream`.


def _prepared(path: Path, sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
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
        file = soundfile.SoundFile(_name(path))
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
    buffer = np.empty((_DECODED_FRAMES, file.channels), np.float32)
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
    if left <= _MP3_PADDING or not (is_frame or start == b"ID3"):  # the end of the file, or tags that players append
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
        if path.suffix.lower() in _SNDFILE_SUFFIXES:
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


def _clipped(path: Path, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
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


def _reblocked(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
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


def _name(path: Path) -> Path | bytes:
    """Returns `path` in the form for soundfile, which itself cannot encode file names that are no UTF-8."""
    return os.fsencode(path) if os.name == "posix" else path


def _format(path: Path, subtype: str | None) -> tuple[str, str]:
    """Returns libsndfile's names for the file format of `path` and for the subtype."""
    suffix = path.suffix[1:].upper()
    kind = {"AIF": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}.get(suffix, suffix)
    if kind not in soundfile.available_formats() or kind == "RAW":
        raise ValueError(f"`path` must end in a suffix that can be written, such as .wav. Received: {str(path)!r}.")
    subtype = subtype or ("OPUS" if suffix == "OPUS" else soundfile.default_subtype(kind))
    if not soundfile.check_format(kind, subtype):
        options = ", ".join(soundfile.available_subtypes(kind))
        raise ValueError(f"`subtype` of a {kind} file must be one of {options}. Received: subtype={subtype!r}.")
    return kind, subtype.upper()
