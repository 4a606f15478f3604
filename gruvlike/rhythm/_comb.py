"""Tempo and phase of an onset envelope, by combs whose teeth stand on all beats.

Lengths are in values of the envelope here, not in seconds.
"""

import numpy as np

FIRST_SECONDS = 8  # the longest lag of the first search, and of the confidence
_STEP_BPM = 0.1
_LONGER = 8  # the lags of the next search are so much longer, and its steps so much finer
_STEPS_AROUND = 24


def correlation(envelope: np.ndarray) -> np.ndarray:
    """Returns the unbiased autocorrelation of an envelope at lags of up to 3/4 of its length; it is 1 at lag 0."""
    import scipy.fft

    centered = envelope - envelope.mean()
    lags = 3 * len(envelope) // 4 + 1
    size = scipy.fft.next_fast_len(len(envelope) + lags, real=True)
    products = scipy.fft.irfft(np.abs(scipy.fft.rfft(centered, size)) ** 2, size)[:lags]
    unbiased = products / np.arange(len(envelope), len(envelope) - lags, -1)
    return unbiased / unbiased[0] if unbiased[0] > 0 else np.zeros(lags)


def best_bpm(correlation: np.ndarray, rate: float, low: float, high: float) -> float:
    """Returns the tempo from `low` to `high` whose multiples correlate best, in beats per minute.

    The first search takes all tempos in steps of 0.1 and multiples of the beat up to 8 s, or half the sound. Each of
    the next searches takes multiples eight times as long, up to 3/4 of the sound, and tempos around the best one in
    steps of an eighth: an error of the beat adds up over the sound.
    """
    bpm = low + _STEP_BPM * np.arange(int((high - low) / _STEP_BPM + 1e-6) + 1)
    longest, step = _first_longest(correlation, rate), _STEP_BPM
    best = float(bpm[np.argmax(scores(correlation, 60 * rate / bpm, longest))])
    while longest < len(correlation) - 1:
        longest, step = min(longest * _LONGER, len(correlation) - 1), step / _LONGER
        bpm = np.clip(best + step * np.arange(-_STEPS_AROUND, _STEPS_AROUND + 1), low, high)
        best = float(bpm[np.argmax(scores(correlation, 60 * rate / bpm, longest))])
    return best


def _first_longest(correlation: np.ndarray, rate: float) -> float:
    """Returns the longest lag of the first search: 8 s, or half the sound."""
    return min(FIRST_SECONDS * rate, (len(correlation) - 1) * 2 / 3)


def scores(correlation: np.ndarray, beats: np.ndarray, longest: float) -> np.ndarray:
    """Returns the mean of the correlation at all multiples, up to `longest`, of each of `beats`."""
    lags = beats[:, None] * np.arange(1, int(longest / beats.min()) + 1)
    return np.mean(np.interp(lags, np.arange(len(correlation)), correlation), axis=1, where=lags <= longest)


def score(correlation: np.ndarray, beat: float, rate: float) -> float:
    """Returns the score of one beat in the first search."""
    return float(scores(correlation, np.array([beat]), _first_longest(correlation, rate))[0])


def phase(envelope: np.ndarray, bass: np.ndarray, beat: float) -> float:
    """Returns the place of a downbeat: the comb with the highest mean, and of its four beats the one with most bass."""
    starts = np.arange(0, beat, 0.5)
    first = float(starts[np.argmax(_means(envelope, starts, beat))])
    beats = first + beat * np.arange(4)
    return float(beats[np.argmax(_means(bass, beats, 4 * beat))])


def _means(envelope: np.ndarray, starts: np.ndarray, period: float) -> np.ndarray:
    """Returns the mean of the envelope at start, start + period, ... for each of `starts`."""
    last = len(envelope) - 1
    places = starts[:, None] + period * np.arange(int(last / period) + 1)
    values = np.interp(places, np.arange(len(envelope)), envelope, right=0)
    return values.sum(axis=1) / np.maximum((places <= last).sum(axis=1), 1)
