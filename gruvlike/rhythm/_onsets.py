"""The onset envelope: how much louder the bands of a sound become from one frame to the next.

Frames and bands are those of `librosa.onset.onset_strength`. A sound is read in pieces, so that memory stays constant,
and by `scipy.fft` in float32, which is faster.
"""

from typing import NamedTuple

import numpy as np

_HOP_SECONDS = 0.008
_FRAME_SECONDS = 0.064
_BANDS = 64
_FLOOR = 1e-8  # -80 dB under a sine wave of the sound's peak: no sound below it has onsets
_PIECE = 512  # frames
_DELAY = 1.5  # hops: a stroke has to enter a frame so far before it is loud under the window (measured with clicks)


class Onsets(NamedTuple):
    """An onset envelope, and the time of its values.

    Attributes:
        envelope: Float64 (N,): mean rise of the bands, in dB.
        start: Seconds from the first sample of the sound to value 0.
        rate: Values per second.
    """

    envelope: np.ndarray
    start: float
    rate: float


def onsets(samples: np.ndarray, sample_rate: int) -> Onsets:
    """Returns the onset envelope of mono samples (S,), float or int16, of which any piece can be read.

    Only frames that lie wholly inside the sound are taken: the beginning of an excerpt is no onset.
    """
    import scipy.fft

    hop = max(1, round(_HOP_SECONDS * sample_rate))
    size = scipy.fft.next_fast_len(round(_FRAME_SECONDS * sample_rate), real=True)
    count = max(0, 1 + (len(samples) - size) // hop)
    envelope = np.zeros(count)
    peak = max((_peak(samples[start : start + (1 << 18)]) for start in range(0, len(samples), 1 << 18)), default=0.0)
    if peak > 0:
        filters, window = _filters(sample_rate, size), _window(size)
        last = None
        for first in range(0, count, _PIECE):
            stop = min(first + _PIECE, count)
            piece = samples[first * hop : (stop - 1) * hop + size].astype(np.float32) / np.float32(peak)
            levels = _levels(np.lib.stride_tricks.sliding_window_view(piece, size)[::hop] * window, filters)
            rises = np.diff(levels, axis=0, prepend=levels[:1] if last is None else last)
            envelope[first:stop] = np.maximum(rises, 0, out=rises).mean(axis=1)
            last = levels[-1:]
    return Onsets(envelope, (size - _DELAY * hop) / sample_rate, sample_rate / hop)


def _peak(piece: np.ndarray) -> float:
    return max(float(piece.max()), -float(piece.min()))


def _levels(frames: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Returns the level in dB of each band of frames (T, N), as (T, bands)."""
    import scipy.fft

    spectra = scipy.fft.rfft(frames, axis=1, overwrite_x=True)
    power = spectra.real**2 + spectra.imag**2
    bands = np.maximum(power @ filters, np.float32(_FLOOR))
    return 10 * np.log10(bands, out=bands)


def _window(size: int) -> np.ndarray:
    """Returns a Hann window that gives a sine wave of amplitude 1 a magnitude of 1."""
    import scipy.signal

    window = scipy.signal.get_window("hann", size)
    return (window * 2 / window.sum()).astype(np.float32)


def _filters(sample_rate: int, size: int) -> np.ndarray:
    """Returns mel filters, (size // 2 + 1, bands)."""
    import librosa.filters  # imported here because it takes a second

    bands = min(_BANDS, size // 8)  # at a low sample rate more of them would be narrower than a bin
    filters = librosa.filters.mel(sr=sample_rate, n_fft=size, n_mels=bands, norm=None)
    return np.ascontiguousarray(filters.T)
