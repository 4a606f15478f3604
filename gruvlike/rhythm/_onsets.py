"""The onset envelope: how much louder the bands of a sound become from one frame to the next.

It is nearly that of `librosa.onset.onset_strength`, which takes triangular bands and several times as long. Here sounds
are read in pieces, in constant memory, and a band is a sum of bins: a matrix product has threads of its own, which
compete with those of `Corpus.build`.
"""

from typing import NamedTuple

import numpy as np

_HOP_SECONDS = 0.008
_FRAME_SECONDS = 0.064
_BANDS = 64
_BASS_HZ = 300
_FLOOR = 1e-8  # -80 dB under a sine wave of the sound's peak: no sound below it has onsets
_PIECE = 512  # frames
_DELAY = 1.5  # hops: a stroke has to enter a frame so far before it is loud under the window (measured with clicks)


class Onsets(NamedTuple):
    """An onset envelope, and the time of its values.

    Attributes:
        envelope: Float64 (N,): mean rise of all bands, in dB.
        bass: Float64 (N,): mean rise of the bands up to 300 Hz.
        start: Seconds from the first sample of the sound to value 0.
        rate: Values per second.
    """

    envelope: np.ndarray
    bass: np.ndarray
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
    envelope, bass = np.zeros(count), np.zeros(count)
    peak = max((_peak(samples[start : start + (1 << 18)]) for start in range(0, len(samples), 1 << 18)), default=0.0)
    if peak > 0:
        edges, window = _edges(sample_rate, size), _window(size)
        low = int((edges * sample_rate / size < _BASS_HZ).sum())
        last = None
        for first in range(0, count, _PIECE):
            stop = min(first + _PIECE, count)
            piece = samples[first * hop : (stop - 1) * hop + size].astype(np.float32) / np.float32(peak)
            levels = _levels(np.lib.stride_tricks.sliding_window_view(piece, size)[::hop] * window, edges)
            rises = np.diff(levels, axis=0, prepend=levels[:1] if last is None else last)
            np.maximum(rises, 0, out=rises)
            envelope[first:stop], bass[first:stop] = rises.mean(axis=1), rises[:, :low].mean(axis=1)
            last = levels[-1:]
    return Onsets(envelope, bass, (size - _DELAY * hop) / sample_rate, sample_rate / hop)


def _peak(piece: np.ndarray) -> float:
    return max(float(piece.max()), -float(piece.min()))


def _levels(frames: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the level in dB of each band of frames (T, N), as (T, bands)."""
    import scipy.fft

    parts = scipy.fft.rfft(frames, axis=1, overwrite_x=True).view(np.float32)  # real and imaginary parts come in turn
    bands = np.add.reduceat(np.multiply(parts, parts, out=parts), 2 * edges, axis=1)
    return 10 * np.log10(np.maximum(bands, np.float32(_FLOOR), out=bands))


def _window(size: int) -> np.ndarray:
    """Returns a Hann window that gives a sine wave of amplitude 1 a magnitude of 1."""
    import scipy.signal

    window = scipy.signal.get_window("hann", size)
    return (window * 2 / window.sum()).astype(np.float32)


def _edges(sample_rate: int, size: int) -> np.ndarray:
    """Returns the first bin of each band: bands of equal width on the mel scale, but of one bin at least."""
    bands = min(_BANDS, size // 8)
    mel = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), bands, endpoint=False)
    hz = 700 * (10 ** (mel / 2595) - 1)
    return np.unique(np.ceil(hz * size / sample_rate).astype(int).clip(min=1))
