"""Copies: is a second of the song a second of the training music?"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import scipy.fft

from gruvlike import _checks
from gruvlike._contracts import AnyMusic
from gruvlike._music import Sound, sample_rate_of, tracks
from gruvlike.metrics import _spectral_copies

_SILENCE = 1e-8  # share of the energy of the loudest second; float32 transforms are not exact below it
_GROUP = 1 << 18  # correlations that are computed at a time: they fit in the cache of a core
_SEARCHED = 128  # seconds of the song that one pass over the music searches for


class CopyMatch(NamedTuple):
    """The second of music that is most similar to one second of the song; `copy_score` finds it.

    Attributes:
        start: Start of the second in the song, in seconds.
        score: Normalized correlation of both seconds, in [0, 1].
        track: Name of the track with the similar second, or its number if tracks have no names. None if the second is
            silent.
        seconds: Start of the similar second in that track, in seconds.
    """

    start: float
    score: float
    track: str | None
    seconds: float


class CopyScore(NamedTuple):
    """The result of `copy_score`.

    Attributes:
        score: The highest score of all seconds, in [0, 1].
        matches: One `CopyMatch` for each second of the song.
    """

    score: float
    matches: tuple[CopyMatch, ...]

    @property
    def closest(self) -> CopyMatch:
        """The match with the highest score; the first one if several are equal in six digits."""
        return max(self.matches, key=lambda match: round(match.score, 6))


def copy_score(
    song: np.ndarray,
    corpus: AnyMusic,
    sample_rate: int | None = None,
    high_pass: bool = True,
    on: Literal["waveform", "spectrum"] = "waveform",
) -> CopyScore:
    """Highest normalized correlation of each second of the song with the training music, at all shifts.

    It answers: is the song a copy, of which track, from which second? The music is read in pieces, in constant memory.
    A copy that was slowed down, transposed or played again is not found. The music may be the song's own seed, too.

    **On the waveform** it finds verbatim copies. Gain and polarity do not matter. The local average over a millisecond
    is subtracted from both sounds (a high-pass at about 400 Hz), because otherwise a bass note that two pieces share
    looks like a copy. With it, unrelated music scores 0.1 to 0.3 (pieces of one author up to 0.5), without it 0.2 to
    0.7. A copy without the octaves above 1 kHz still scores 0.8.

    **On the spectrum** it also finds copies whose phases were rebuilt, as decoders of magnitudes do (`LogSpectrum`): on
    the waveform they score 0.2 to 0.75, as other music of the author does. The log-mel spectra of both seconds are
    compared (frames of 64 ms, 16 ms apart, up to 40 bands, a range of 40 dB), after the mean of each frame and of each
    band is subtracted. So gain and filters hardly matter. A copy with rebuilt phases scores 0.9 to 1.0, music of others
    0.2 to 0.55, other music of the same author 0.25 to 0.85 (more where a piece repeats its own samples).

    Args:
        song: Samples of shape (S,), a second or longer. The last second ends with the song.
        corpus: A `Corpus`; or samples, such as a seed; or a sequence of tracks, each samples or (name, samples).
        sample_rate: Samples per second. Not needed with a `Corpus`; if given, it must be that of the corpus.
        high_pass: Whether the high-pass is applied to both sounds. The spectrum has no use for it.
        on: "waveform" or "spectrum".

    Returns:
        A `CopyScore`. Its `score` is 1.0 for a verbatim copy; `closest.track` and `closest.seconds` tell the origin (on
        the spectrum to 16 ms). A silent second scores 0; on the spectrum a held tone, too.

    Raises:
        ValueError: If the song is not mono and finite or shorter than a second, if the sample rate is unknown, too low
            for a spectrum (500), or not that of the corpus, or if `on` is neither.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.random.default_rng(0).normal(size=(2, 8000))
        >>> found = metrics.copy_score(0.1 * music[1, 1500:4500], music, sample_rate=1000)
        >>> round(found.score, 3), found.closest.track, found.closest.seconds
        (1.0, '1', 1.5)
        >>> found = metrics.copy_score(0.1 * music[1, 1504:4504], music, sample_rate=1000, on="spectrum")
        >>> round(found.score, 3), found.closest.track, found.closest.seconds
        (1.0, '1', 1.504)

    References:
        J. P. Lewis, "Fast normalized cross-correlation", Vision Interface 1995 (Fourier transforms and running sums).
    """
    song = _checks.mono("song", song)
    on_waveform = _checks.choice("on", on, ("waveform", "spectrum")) == "waveform"
    rate = _sample_rate(corpus, sample_rate, minimum=16 if on_waveform else 500)
    if len(song) < rate:
        raise ValueError(
            f"Copies are looked for second by second: sample_rate={rate} needs {rate} samples. "
            f"Received: {len(song)}. Use a longer song."
        )
    starts = list(range(0, len(song) - rate + 1, rate))
    if len(song) % rate:
        starts.append(len(song) - rate)
    seconds = np.stack([song[start : start + rate] for start in starts])
    sounds = list(tracks(corpus))
    if on_waveform:
        found = _search(seconds, sounds, rate, width=max(rate // 2000, 1) if high_pass else 0)
    else:
        found = _spectral_copies.search(seconds, sounds, rate)
    matches = tuple(CopyMatch(start / rate, *match) for start, match in zip(starts, found, strict=True))
    return CopyScore(max(match.score for match in matches), matches)


def _sample_rate(corpus: AnyMusic, sample_rate: int | None, minimum: int) -> int:
    own = sample_rate_of(corpus)
    if own is None and sample_rate is None:
        raise ValueError("`sample_rate` must be given where the music does not know it. Received: sample_rate=None.")
    if own is not None and sample_rate is not None and own != sample_rate:
        raise ValueError(
            f"Song and corpus must have the same sample rate. Received: sample_rate={sample_rate}, the corpus has "
            f"{own}. Resample the song (`gruvlike.audio.read(path, sample_rate)` does)."
        )
    return _checks.positive_int("sample_rate", own if sample_rate is None else sample_rate, minimum)


def _high_passed(samples: np.ndarray, width: int) -> np.ndarray:
    """Subtracts the average over `width` samples before and after each sample; the result has no edges."""
    samples = samples.astype(np.float64)
    if not width:
        return samples
    sums = np.concatenate([[0.0], np.cumsum(samples)])
    whole = 2 * width + 1
    return samples[width:-width] - (sums[whole:] - sums[:-whole]) / whole


def _search(samples: np.ndarray, sounds: list[Sound], rate: int, width: int) -> list[tuple[float, str | None, float]]:
    """Returns the best (score, track, seconds) for each row of `samples`, (n, rate)."""
    seconds = np.stack([_high_passed(second, width) for second in samples])
    energies = np.square(seconds).sum(axis=1, keepdims=True)
    audible = energies > _SILENCE * energies.max()
    seconds = np.where(audible, seconds / np.sqrt(np.where(audible, energies, 1)), 0)
    groups = (seconds[first : first + _SEARCHED] for first in range(0, len(seconds), _SEARCHED))
    return [match for group in groups for match in _search_group(group, sounds, rate, width)]


def _search_group(
    seconds: np.ndarray, sounds: list[Sound], rate: int, width: int
) -> list[tuple[float, str | None, float]]:
    """Returns the best (score, track, seconds) for each row of `seconds`, unit vectors (n, rate - 2 * width)."""
    size = scipy.fft.next_fast_len(4 * rate, real=True)
    spectra = np.conj(scipy.fft.rfft(seconds.astype(np.float32), size, axis=1, workers=-1))
    step = size - seconds.shape[1] + 1
    best: list[tuple[float, str | None, float]] = [(0.0, None, 0.0)] * len(seconds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, samples in sounds:

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
    """Returns the best score of each second within the piece, and the sample of the piece where that match begins."""
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
    # The place is found by transforms in float32. The score at that place is computed in float64.
    windows = np.lib.stride_tricks.sliding_window_view(piece, length)
    products = np.einsum("ns,ns->n", seconds, windows[places])  # BLAS would start threads beside those of the pool
    scores = np.abs(products) / np.sqrt(np.where(audible, energies, 1)[places]) * audible[places]
    return np.minimum(scores, 1), places
