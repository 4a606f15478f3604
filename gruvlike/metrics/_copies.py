"""Copies: is a second of the song a second of the training music?"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from gruvlike import _checks

_SILENCE = 1e-8  # of the energy of the loudest second: float32 transforms are sure of no less
_GROUP = 1 << 18  # samples of correlations at a time: what fits in a core's cache
_SEARCHED = 128  # seconds of song that are searched in one pass over the music


class CopyMatch(NamedTuple):
    """The second of music that is most like one second of the song.

    Attributes:
        start: where the second begins in the song, in seconds.
        score: normalised cross-correlation, in [0, 1].
        track: name of the track it is like (its number, where tracks have no names); None where all is silent.
        seconds: where that begins in the track.
    """

    start: float
    score: float
    track: str | None
    seconds: float


class CopyScore(NamedTuple):
    """What `copy_score` found.

    Attributes:
        score: the highest score of all seconds, in [0, 1].
        matches: one `CopyMatch` for each second of the song.
    """

    score: float
    matches: tuple[CopyMatch, ...]

    @property
    def closest(self) -> CopyMatch:
        """The match with the highest score, the first of them where several are verbatim."""
        return max(self.matches, key=lambda match: round(match.score, 6))


def copy_score(song: np.ndarray, corpus: Any, sample_rate: int | None = None, high_pass: bool = True) -> CopyScore:
    """The highest normalised cross-correlation of each second of the song with the training music.

    It answers: is this a verbatim copy, of what, from where? Gain and polarity do not matter. Both sounds are compared
    less their own average over a millisecond (a high-pass at about 400 Hz), or a bass note that two pieces share would
    pass for a copy: unrelated music reads 0.1 to 0.3 with it (pieces of one author up to 0.5), 0.2 to 0.7 without; a
    copy without the octaves above 1 kHz still reads 0.8. A copy that was slowed down, transposed or played anew is not
    found. The music is read in pieces, in constant memory.

    Args:
        song: samples (S,), a second or more. The last second is right-aligned.
        corpus: a `Corpus`; or samples; or a sequence of tracks, each samples or (name, samples).
        sample_rate: samples per second; not needed with a `Corpus`, refused if it differs from the corpus's.
        high_pass: False compares the samples as they are.

    Returns:
        A `CopyScore`: `score` is 1.0 for a verbatim copy, `closest.track` and `closest.seconds` say of what.
        A silent second reads 0.

    Raises:
        ValueError: if the song is not mono and finite or shorter than a second, or if no or two sample rates are given.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.random.default_rng(0).normal(size=(2, 8000))
        >>> found = metrics.copy_score(0.1 * music[1, 1500:4500], music, sample_rate=1000)
        >>> round(found.score, 3), found.closest.track, found.closest.seconds
        (1.0, '1', 1.5)

    References:
        J. P. Lewis, "Fast normalized cross-correlation", Vision Interface 1995 (transforms and running sums).
    """
    song = _checks.mono("song", song)
    rate = _sample_rate(corpus, sample_rate)
    width = max(rate // 2000, 1) if high_pass else 0
    if len(song) < rate:
        raise ValueError(
            f"Copies are looked for second by second: sample_rate={rate} needs {rate} samples. "
            f"Received: {len(song)}. Use a longer song."
        )
    starts = list(range(0, len(song) - rate + 1, rate))
    if len(song) % rate:
        starts.append(len(song) - rate)
    seconds = np.stack([_high_passed(song[start : start + rate], width) for start in starts])
    energies = np.square(seconds).sum(axis=1, keepdims=True)
    audible = energies > _SILENCE * energies.max()
    seconds = np.where(audible, seconds / np.sqrt(np.where(audible, energies, 1)), 0)
    tracks = named_tracks(corpus)
    found = [
        match
        for first in range(0, len(starts), _SEARCHED)
        for match in _search(seconds[first : first + _SEARCHED], tracks, rate, width)
    ]
    matches = tuple(CopyMatch(start / rate, *match) for start, match in zip(starts, found, strict=True))
    return CopyScore(max(match.score for match in matches), matches)


def _sample_rate(corpus: Any, sample_rate: int | None) -> int:
    own = getattr(corpus, "sample_rate", None)
    if own is None and sample_rate is None:
        raise ValueError("`sample_rate` must be given where the music does not know it. Received: sample_rate=None.")
    if own is not None and sample_rate is not None and own != sample_rate:
        raise ValueError(
            f"Song and corpus must have the same sample rate. Received: sample_rate={sample_rate}, the corpus has "
            f"{own}. Resample the song (`gruvlike.audio.read(path, sample_rate)` does)."
        )
    return _checks.positive_int("sample_rate", own if sample_rate is None else sample_rate, minimum=16)


def named_tracks(corpus: Any) -> list[tuple[str, np.ndarray]]:
    """Returns the (name, samples) of a corpus, of samples, or of a sequence of tracks; nothing is copied."""
    if isinstance(corpus, np.ndarray) and corpus.ndim == 1:
        corpus = [corpus]
    tracks = []
    for index, track in enumerate(corpus):
        if hasattr(track, "pcm"):
            name, samples = track.name, track.pcm
        elif isinstance(track, tuple):
            name, samples = track
        else:
            name, samples = str(index), np.asarray(track)
        if samples.ndim != 1 or not samples.size or (samples.dtype != np.int16 and samples.dtype.kind != "f"):
            raise ValueError(
                f"A track must be mono samples of shape (S,), float or int16. Received: {name!r}, "
                f"shape={samples.shape}, dtype={samples.dtype}."
            )
        tracks.append((name, samples))
    if not tracks:
        raise ValueError("The music must hold at least one track. Received: none.")
    return tracks


def _high_passed(samples: np.ndarray, width: int) -> np.ndarray:
    """Returns the samples less their average over `width` samples before and `width` after, without the edges."""
    samples = samples.astype(np.float64)
    if not width:
        return samples
    sums = np.concatenate([[0.0], np.cumsum(samples)])
    whole = 2 * width + 1
    return samples[width:-width] - (sums[whole:] - sums[:-whole]) / whole


def _search(
    seconds: np.ndarray, tracks: list[tuple[str, np.ndarray]], rate: int, width: int
) -> list[tuple[float, str | None, float]]:
    """Returns (score, track, seconds) for each of the unit vectors `seconds`: (n, rate - 2 * width)."""
    size = scipy.fft.next_fast_len(4 * rate, real=True)
    spectra = np.conj(scipy.fft.rfft(seconds.astype(np.float32), size, axis=1, workers=-1))
    step = size - seconds.shape[1] + 1
    best: list[tuple[float, str | None, float]] = [(0.0, None, 0.0)] * len(seconds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, samples in tracks:

            def correlate(start: int, samples: np.ndarray = samples) -> tuple[np.ndarray, np.ndarray]:
                piece = _piece(samples, start, size + 2 * width, rate)
                return _correlate(_high_passed(piece, width), seconds, spectra, size)

            starts = range(0, max(len(samples) - rate, 0) + 1, step)
            for start, (scores, places) in zip(starts, pool.map(correlate, starts), strict=True):
                for index in np.flatnonzero(scores > [score for score, _, _ in best]):
                    best[index] = (float(scores[index]), name, (start + int(places[index])) / rate)
    return best


def _piece(samples: np.ndarray, start: int, size: int, rate: int) -> np.ndarray:
    piece = _checks.mono("corpus", samples[start : start + size])
    return np.pad(piece, (0, max(rate - len(piece), 0)))


def _correlate(piece: np.ndarray, seconds: np.ndarray, spectra: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best score of each second in the piece, and the place where it begins there."""
    length = seconds.shape[1]
    sums = np.concatenate([[0.0], np.cumsum(np.square(piece))])
    energies = sums[length:] - sums[:-length]
    audible = energies > _SILENCE * energies.max()
    weights = np.where(audible, 1 / np.where(audible, energies, 1), 0).astype(np.float32)
    spectrum = scipy.fft.rfft(piece.astype(np.float32), size)
    places = np.empty(len(seconds), np.int64)
    group = max(_GROUP // size, 1)
    for first in range(0, len(seconds), group):
        lags = scipy.fft.irfft(spectrum * spectra[first : first + group], size, axis=1)[:, : len(weights)]
        np.square(lags, out=lags)
        lags *= weights
        places[first : first + group] = lags.argmax(axis=1)
    # Transforms in float32 find the place; the score itself is computed in float64.
    windows = np.lib.stride_tricks.sliding_window_view(piece, length)
    products = np.einsum("ns,ns->n", seconds, windows[places])  # not BLAS: its threads would fight with the pool's
    scores = np.abs(products) / np.sqrt(np.where(audible, energies, 1)[places]) * audible[places]
    return np.minimum(scores, 1), places
