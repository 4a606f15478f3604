"""The chain of generators behind `stream`: decode, mix down, resample, filter, clip, cut into blocks."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import butter, sosfilt, sosfilt_zi

from gruvlike.audio import _readers
from gruvlike.audio._sound import Chunk

logger = logging.getLogger(__name__)

Pieces = Iterable[tuple[int, np.ndarray]]  # (sample rate, mono samples)
_MOST_HZ, _MOST_TIMES = 10_000_000, 1000  # rates beyond are damage, and would fill the memory
_LOUDEST = 1e9  # full scale is 1: a sample beyond is no sound, and would overflow in the resampler
_CANCELED = 1e-3  # share of the power that channels without relation leave to their mean
_AUDIBLE = 1e-10  # mean power of samples at -100 dB
_RESAMPLED = 1 << 20  # samples at a time that the resampler may give


def prepared(path: Path, sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
    """Yields the samples of a file at `sample_rate`, filtered, in chunks of any size."""
    total = 0
    pieces = _finite(path, _mixed(path, _plausible(path, _readers.chunks(path), sample_rate)))
    for chunk in _resampled(pieces, sample_rate, high_pass_hz):
        total += chunk.size
        yield chunk
    if not total:
        raise ValueError(f"An audio file must hold samples. Received: {str(path)!r}, which decodes to none.")


def _plausible(path: Path, chunks: Iterable[Chunk], sample_rate: int) -> Iterator[Chunk]:
    for chunk in chunks:
        if not sample_rate / _MOST_TIMES <= chunk.rate <= _MOST_HZ:
            raise ValueError(
                f"A file must have at most {_MOST_HZ} samples a second, and at least 1/{_MOST_TIMES} of what is asked "
                f"for. Received: {str(path)!r}, whose header says {chunk.rate}, at sample_rate={sample_rate}. "
                "The header is damaged, or this is no music."
            )
        yield chunk


def _mixed(path: Path, chunks: Iterable[Chunk]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the mean of the channels; one channel alone where the first sound of the file cancels in the mean."""
    channel, judged, canceled = None, False, 0.0
    for rate, block in chunks:
        mono, audible, loudest = _mean(block)
        if loudest is not None and not judged:
            channel = loudest
            text = "%r: its channels cancel each other. Channel %d of %d is taken instead of their mean."
            logger.warning(text, str(path), channel + 1, block.shape[1])
        elif loudest is not None and channel is None:
            canceled += len(block) / rate
        judged = judged or audible
        if channel is not None and channel < block.shape[1]:
            mono = block[:, channel].copy()
        yield rate, mono
    if canceled:
        logger.warning("%r: its channels cancel each other in %.1f s, which are silent.", str(path), canceled)


def _mean(block: np.ndarray) -> tuple[np.ndarray, bool, int | None]:
    """Mixes the channels of a block down.

    Args:
        block: Samples of shape (n, channels).

    Returns:
        The mean of the channels, (n,); whether a channel is audible; and, if the channels cancel each other in the
        mean, the loudest one.
    """
    channels = block.shape[1]
    mono = block[:, 0].copy()
    with np.errstate(invalid="ignore", over="ignore"):  # `_finite` counts NaN and infinite samples afterwards
        for channel in block.T[1:]:  # adding columns is ten times as fast as `mean`
            mono += channel
        if channels == 1:
            return mono, True, None
        mono *= np.float32(1 / channels)
        flat = block.reshape(-1)
        power = float(np.dot(flat, flat))
        audible = power > _AUDIBLE * block.size
        cancels = audible and float(np.dot(mono, mono)) * channels**2 < _CANCELED * power
        loudest = int(np.square(block).sum(axis=0).argmax()) if cancels else None
    return mono, audible, loudest


def _finite(path: Path, pieces: Pieces) -> Iterator[tuple[int, np.ndarray]]:
    bad = total = 0
    for rate, chunk in pieces:
        total += chunk.size
        if not -_LOUDEST < np.min(chunk, initial=0) <= np.max(chunk, initial=0) < _LOUDEST:  # NaN is not
            bad += int(np.count_nonzero(~(np.abs(chunk) < _LOUDEST)))
        elif not bad:  # after a bad chunk the rest is only counted, for the error
            yield rate, chunk
    if bad:
        raise ValueError(
            f"Samples must be finite. Received: {str(path)!r}, where {bad} of {total} are NaN or infinite, or beyond "
            f"{_LOUDEST:.0e} times full scale. Export the file anew, as 16 or 24-bit PCM."
        )


def _resampled(pieces: Pieces, sample_rate: int, high_pass_hz: float | None) -> Iterator[np.ndarray]:
    """Yields filtered samples at `sample_rate`; where the rate changes within a file, a new resampler begins."""
    rate: int | None = None
    steps: _Steps | None = None
    for now, chunk in pieces:
        if steps is None or now != rate:
            if steps:
                yield from steps.last()
            rate, steps = now, _Steps(now, sample_rate, high_pass_hz)
        if chunk.size:
            yield from steps(chunk)
    if steps:
        yield from steps.last()


class _Steps:
    """Resampler and high-pass of the samples at one rate, with their states."""

    def __init__(self, rate: int, sample_rate: int, high_pass_hz: float | None):
        self._high_pass = None if high_pass_hz is None else _HighPass(high_pass_hz, sample_rate)
        self._size = max(_RESAMPLED * rate // sample_rate, 1)  # samples at a time that are resampled
        self._offset: np.float32 | None = None
        self._resampler: soxr.ResampleStream | None = None
        if rate != sample_rate:
            self._resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")

    def __call__(self, chunk: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the samples that a chunk gives."""
        if self._resampler is None:
            yield self._filtered(chunk)
            return
        if self._high_pass:
            # To the resampler, an offset is a step at either end of the file, which the high-pass does not remove.
            self._offset = np.float32(chunk.mean(dtype=np.float64)) if self._offset is None else self._offset
            chunk = chunk - self._offset
        for start in range(0, chunk.size, self._size):
            yield self._filtered(self._resampler.resample_chunk(chunk[start : start + self._size]))

    def last(self) -> Iterator[np.ndarray]:
        """Yields the samples that the resampler holds back."""
        if self._resampler is not None:
            yield self._filtered(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def _filtered(self, chunk: np.ndarray) -> np.ndarray:
        return self._high_pass(chunk) if self._high_pass and chunk.size else chunk


class _HighPass:
    """A Butterworth filter of second order that begins settled on the first sample."""

    def __init__(self, high_pass_hz: float, rate: int):
        # The filter runs in float64: for 20 Hz at 44.1 kHz its poles lie too near to 1 for float32.
        self._sections = butter(2, high_pass_hz, "highpass", fs=rate, output="sos")
        self._state: np.ndarray | None = None

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        """Returns the filtered chunk."""
        if self._state is None:
            self._state = sosfilt_zi(self._sections) * chunk[0]
        filtered, self._state = sosfilt(self._sections, chunk, zi=self._state)
        return filtered.astype(np.float32)


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
