"""Frames, windows and statistics of sound as the program of 2015 made them, and sound of frames."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from gruvlike import audio
from gruvlike._checks import mono, positive_int

logger = logging.getLogger(__name__)

FULL_SCALE = 32767  # the program of 2015 divided and multiplied int16 by this
_LEAST_STD = 1e-8


class Prepared(NamedTuple):
    """The result of `prepare`: standardized windows, their targets, and the statistics of the standardization.

    Attributes:
        x: Windows of standardized frames, float32 of shape (windows, T, F).
        y: The targets, one frame later, of the same shape.
        mean: Mean of each feature before standardization, of shape (F,).
        std: Standard deviation of each feature, of shape (F,), at least 1e-8.
    """

    x: np.ndarray
    y: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def to_frames(samples: np.ndarray, block_size: int, time_domain: bool = False) -> np.ndarray:
    """Cuts samples into the frames of 2015: blocks end to end, the last one padded with zeros.

    Args:
        samples: Mono float samples of shape (S,).
        block_size: N, samples in a block.
        time_domain: Whether a frame is the samples themselves instead of their DFT.

    Returns:
        Float32 frames of shape (ceil(S / N), F), F = 2N, or N in the time domain.

    Raises:
        ValueError: If the samples are not mono and finite, or `block_size` is no positive integer.

    Example:
        >>> to_frames(np.ones(5, "float32"), block_size=4)
        array([[4., 0., 0., 0., 0., 0., 0., 0.],
               [1., 1., 1., 1., 0., 0., 0., 0.]], dtype=float32)
    """
    block_size = positive_int("block_size", block_size)
    samples = mono("samples", samples)
    # The blocks are float64, because a std may be as small as 1e-8.
    blocks = np.zeros((-(-len(samples) // block_size), block_size))
    blocks.reshape(-1)[: len(samples)] = samples
    if not time_domain:
        spectrum = np.fft.fft(blocks)
        blocks = np.concatenate([spectrum.real, spectrum.imag], axis=-1)
    return blocks.astype(np.float32)


def to_samples(frames: np.ndarray, time_domain: bool = False) -> np.ndarray:
    """Turns frames back into samples: the real part of the inverse DFT, blocks end to end.

    The program of 2015 cast `samples * 32767` to int16, which wraps around beyond full scale. Here samples stay floats,
    which do not wrap, and `gruvlike.audio.write` clips them.

    Args:
        frames: Un-standardized frames of shape (T, F).
        time_domain: Whether a frame is the samples themselves.

    Returns:
        Float32 samples of shape (T * N,), full scale 1.

    Raises:
        ValueError: If the shape is not (T, F), or F is odd for frames of real and imaginary parts.

    Example:
        >>> samples = np.sin(np.arange(12, dtype="float32"))
        >>> bool(np.allclose(to_samples(to_frames(samples, block_size=4)), samples, atol=1e-6))
        True
    """
    frames = np.asarray(frames)
    if frames.ndim != 2 or (frames.shape[1] % 2 and not time_domain):
        raise ValueError(
            "`frames` must have shape (T, F), with F = 2N even unless they are time-domain blocks. "
            f"Received: shape={frames.shape}, time_domain={time_domain}."
        )
    if not time_domain:
        real, imaginary = np.split(frames.astype(np.float64), 2, axis=-1)
        frames = np.fft.ifft(real + 1j * imaginary).real
    return frames.astype(np.float32).reshape(-1)


def prepare(
    wav_path: str | os.PathLike, block_size: int, steps: int, time_domain: bool = False, *, max_files: int = 20
) -> Prepared:
    """Cuts WAV files into standardized windows and their targets, one frame later.

    Mono 16-bit WAV is used unchanged. Other formats, which the program of 2015 read as noise, are converted to mono
    floats, and a warning is logged. As in 2015, windows do not overlap and the rest at the end of a track is dropped: a
    track of k blocks gives (k - 1) // steps windows. Nothing is resampled.

    Args:
        wav_path: A file, or a folder, whose audio files are used in the order of their names.
        block_size: N, samples in a block.
        steps: T, frames in a window.
        time_domain: Whether a frame is the samples themselves instead of their DFT.
        max_files: Largest number of files of a folder that are used; a warning is logged if more are there.

    Returns:
        A `Prepared` tuple `(x, y, mean, std)`, float32: `x` and `y` of shape (windows, T, F), `mean` and `std` of
        shape (F,), computed over all windows and steps of `x`; `std` is at least 1e-8.

    Raises:
        FileNotFoundError: If there is no such file, or no audio in the folder.
        ValueError: If a size is no positive integer, the tracks have different sample rates, or no window fits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "track.wav"
        ...     audio.write(path, np.sin(np.arange(1000) / 9).astype("float32") / 2, 8000)
        ...     x, y, mean, std = prepare(path, block_size=16, steps=10)
        >>> x.shape, y.shape, mean.shape, std.shape
        ((6, 10, 32), (6, 10, 32), (32,), (32,))
        >>> bool(np.array_equal(x[:, 1:], y[:, :-1]))
        True
    """
    block_size, steps = positive_int("block_size", block_size), positive_int("steps", steps)
    inputs, targets, longest = [], [], 0
    for path, samples in _tracks(Path(wav_path), positive_int("max_files", max_files)):
        frames = to_frames(samples, block_size, time_domain)
        count = (len(frames) - 1) // steps
        if not count:
            logger.warning("%s is too short for a window of %d blocks: it has %d.", path, steps, len(frames))
        longest = max(longest, len(samples))
        shape = (count, steps, frames.shape[1])
        inputs.append(frames[: count * steps].reshape(shape))
        targets.append(frames[1 : count * steps + 1].reshape(shape))
    x, y = np.concatenate(inputs), np.concatenate(targets)
    if not len(x):
        raise ValueError(
            f"No window of steps={steps} fits: it needs {steps + 1} blocks, more than {steps * block_size} samples; "
            f"the longest track has {longest}. Use fewer steps, smaller blocks or a longer track."
        )
    mean, std = _statistics(x)
    for windows in (*x, *y):  # each window is normalized alone, because its temporary copy is float64
        windows[:] = (windows - mean) / std
    return Prepared(x, y, mean.astype(np.float32), std.astype(np.float32))


def _tracks(path: Path, max_files: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Yields (path, samples) of each track, scaled as in 2015."""
    first = None
    for file in _files(path, max_files):
        try:
            info = soundfile.info(file)
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"A track must be a WAV file, or another that libsndfile reads. Received: {error}"
            ) from error
        first = first or (file, info.samplerate)
        if info.samplerate != first[1]:
            raise ValueError(
                f"All tracks must have one sample rate. Received: {first[0]} with {first[1]} Hz and {file} with "
                f"{info.samplerate} Hz. Convert them first; `gruvlike.Corpus.build` would."
            )
        if (info.channels, info.subtype) != (1, "PCM_16"):
            logger.warning(
                "%s is not mono 16-bit PCM (%s, %d channels): converted.", file, info.subtype_info, info.channels
            )
        # The factor makes 16-bit integers divided by 32768 into integers divided by 32767, as in 2015.
        yield file, audio.read(file, info.samplerate) * np.float32(32768 / FULL_SCALE)


def _files(path: Path, max_files: int) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"A track or a folder of tracks must exist. Received: {path}.")
    if not path.is_dir():
        return [path]
    files = sorted(audio.find(path))
    if not files:
        raise FileNotFoundError(f"A folder must hold at least one audio file. Received: {path}.")
    if len(files) > max_files:
        logger.warning(
            "%d of %d files in %s are left out: max_files=%d.", len(files) - max_files, len(files), path, max_files
        )
    return files[:max_files]


def _statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = x.mean(axis=(0, 1), dtype=np.float64)
    variance = sum(np.square(window - mean).mean(axis=0) for window in x) / len(x)
    return mean, np.maximum(np.sqrt(variance), _LEAST_STD)
