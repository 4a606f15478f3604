"""Files <-> mono float32 samples.

Conventions: samples are mono, float32, in [-1, 1], of shape (S,). Channels are mixed down by their mean. Integer
formats are scaled by their declared depth (full scale = 1.0). Lossy formats and resampling can overshoot full scale:
such samples are clipped, counted and logged. Files are decoded in blocks, so that `stream` needs no more memory for
three hours than for three minutes. `read` joins the blocks of `stream`. `match_level` brings a song to the loudness of
its seed, which `loudness` measures.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gruvlike._checks import MOST_HZ, at_most, mono, number, positive_int
from gruvlike._files import replacing
from gruvlike.audio import _decoding, _finding, _loudness, _sndfile, _writing

logger = logging.getLogger(__name__)

_MOST_SAMPLES = 1 << 28  # of a block, 1 GiB


def find(folder: str | os.PathLike, skipped: list[tuple[Path, str]] | None = None) -> list[Path]:
    """Lists the audio files in `folder` and below, sorted by path.

    Files are chosen by their suffix, in upper or lower case; a file with another suffix is chosen if it begins as a
    sound does. Hidden files and folders (".name") are left out, because other programs keep their own data in them.
    Links to folders are followed. Each folder is visited once, so a loop of links ends.

    Args:
        folder: The folder to search.
        skipped: A list that gets (path, reason) of each file that looks like sound and cannot be read, such as MIDI
            or a link to nowhere, and of each folder that cannot be searched. Without it they are logged as a warning.

    Returns:
        A list of paths, empty when there is no audio.

    Raises:
        FileNotFoundError, NotADirectoryError: If `folder` is no folder.
        OSError: If `folder` itself cannot be searched.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.wav", "a.MP3", "notes.txt", "tune.mid"):
        ...         Path(folder, name).touch()
        ...     skipped = []
        ...     [path.name for path in find(folder, skipped)], [path.name for path, reason in skipped]
        (['a.MP3', 'b.wav'], ['tune.mid'])
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"The folder to search must exist. Received: {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"A folder to search is needed. Received: {str(folder)!r}, which is a file.")
    left_out = [] if skipped is None else skipped
    found = _finding.search(folder, left_out)
    if skipped is None and left_out:
        listing = "".join(f"\n  {str(path)!r}: {reason}" for path, reason in left_out)
        logger.warning("%d files or folders look like sound and are not read:%s", len(left_out), listing)
    return found


def read(path: str | os.PathLike, sample_rate: int, high_pass_hz: float | None = None, clip: bool = True) -> np.ndarray:
    """Reads a whole audio file as mono samples.

    Args:
        path: An audio file: WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF and others. M4A, AAC, WMA and others need the extra
            `av` (`pip install "gruvlike[av]"`). Its content decides how it is read, not its suffix.
        sample_rate: Samples per second of the result, up to 1,000,000. A file with another rate is resampled.
        high_pass_hz: Cutoff of a high-pass filter that removes DC and infrasound, as in `Corpus.build`. `None` does
            not filter.
        clip: Whether samples beyond full scale are clipped to [-1, 1] (and logged).

    Returns:
        Float32 samples of shape (S,).

    Raises:
        ValueError: If the file is no audio, is damaged or cut short, holds no samples, or holds NaN or infinite
            samples.
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
        sample_rate: Samples per second of the result, up to 1,000,000.
        block_size: Samples a block, up to 2^28.
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
    sample_rate = at_most("sample_rate", sample_rate, MOST_HZ)
    block_size = at_most("block_size", block_size, _MOST_SAMPLES)
    if high_pass_hz is not None:
        number("high_pass_hz", high_pass_hz, low=0, high=sample_rate / 2, open_low=True)
        if high_pass_hz == sample_rate / 2:
            raise ValueError(f"`high_pass_hz` must be below sample_rate / 2. Received: high_pass_hz={high_pass_hz}.")
    if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe waits for somebody who writes
        raise ValueError(f"An audio file must be a regular file. Received: {str(path)!r}, a pipe or device.")
    with open(path, "rb") as file:  # `open` raises OSError for a missing or forbidden file or a folder
        if not file.read(1):
            raise ValueError(f"An audio file must hold samples. Received: {str(path)!r}, which has 0 bytes.")
    chunks = _decoding.prepared(path, sample_rate, high_pass_hz)
    return _decoding.reblocked(_decoding.clipped(path, chunks) if clip else chunks, block_size)


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
    kind, subtype = _format(path, subtype, sample_rate, len(samples))
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
        _writing.write(_sndfile.file_name(temporary), str(path), samples, int(sample_rate), kind, subtype)


def loudness(samples: np.ndarray, sample_rate: int) -> float:
    """Measures how loud a sound is: the integrated loudness of EBU R 128.

    A sound shorter than the 0.4 s of a block of the standard is one block.

    Args:
        samples: The sound: (S,), float or int16 PCM.
        sample_rate: Samples per second.

    Returns:
        Loudness in LUFS: -23 is the level of European broadcasts, and a sine of 1 kHz at full scale has -3. Minus
        infinity for silence, which is everything below -70 LUFS.

    Raises:
        ValueError: If the sound is not mono and finite, or the rate is not positive.

    Example:
        >>> tone = np.sin(np.arange(16_000) * 2 * np.pi / 16)
        >>> round(loudness(tone, sample_rate=16_000)), round(loudness(tone / 10, sample_rate=16_000))
        (-3, -23)

    References:
        European Broadcasting Union, Recommendation R 128, 2020. ITU-R BS.1770-4, 2015.
    """
    return _loudness.level_db(mono("samples", samples), positive_int("sample_rate", sample_rate))


def match_level(samples: np.ndarray, like: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
    """Brings a sound to the loudness of another one, by one gain for all samples.

    The gain is smaller where full scale would be exceeded: then the highest sample is at full scale. If either sound is
    silent, no gain makes them equally loud, and the sound is returned as it is.

    Args:
        samples: The sound to change, such as a song: (S,), float or int16 PCM. Samples beyond full scale are allowed.
        like: The sound to be as loud as, such as the seed of the song: of any length.
        sample_rate: Samples per second of both, for `loudness` as EBU R 128 defines it. `None` compares their levels
            (RMS) instead.

    Returns:
        Float32 samples of shape (S,), a copy.

    Raises:
        ValueError: If either sound is not mono and finite, or the rate is not positive.

    Example:
        >>> seed = np.sin(np.arange(800) / 5) / 2
        >>> match_level(np.array([0.1, -0.1]), like=seed).round(2)
        array([ 0.35, -0.35], dtype=float32)
    """
    samples, like = mono("samples", samples), mono("like", like)
    rate = None if sample_rate is None else positive_int("sample_rate", sample_rate)
    level, wanted = _loudness.level_db(samples, rate), _loudness.level_db(like, rate)
    if -np.inf in (level, wanted):
        return samples.copy()
    gain = min(10 ** ((wanted - level) / 20), 1 / float(np.abs(samples).max()))
    return np.clip(samples * np.float32(gain), -1, 1)  # the product can round to a little more than 1


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


def _format(
    path: Path, subtype: str | None, sample_rate: int | None = None, size: int | None = None
) -> tuple[str, str]:
    """Returns libsndfile's names for the file format of `path` and for the subtype.

    Args:
        path: The file.
        subtype: The name that was asked for.
        sample_rate: Samples per second, where they are known already.
        size: The number of samples, likewise.

    Raises:
        ValueError: If the format cannot hold samples of this kind, rate and number.
    """
    if sample_rate is not None:
        sample_rate = at_most("sample_rate", sample_rate, MOST_HZ)
    return _writing.checked(path, subtype, sample_rate, size)
