"""Tempo and phase of an onset envelope, by combs whose teeth stand on all beats.

Lengths are in values of the envelope here, not in seconds.
"""

import numpy as np

FIRST_SECONDS = 8  # the longest lag of the first search, and of the confidence
_STEP_BPM = 0.1
_LONGER = 8  # how much longer the lags of the next search are, and finer its steps
_STEPS_AROUND = 24


def correlation(envelope: np.ndarray) -> np.ndarray:
    """Returns the unbiased autocorrelation of an envelope at lags of up to half its length; it is 1 at lag 0."""
    import scipy.fft

    centered = envelope - envelope.mean()
    lags = len(envelope) // 2 + 1
    size = scipy.fft.next_fast_len(len(envelope) + lags, real=True)
    products = scipy.fft.irfft(np.abs(scipy.fft.rfft(centered, size)) ** 2, size)[:lags]
    unbiased = products / np.arange(len(envelope), len(envelope) - lags, -1)
    return unbiased / unbiased[0] if unbiased[0] > 0 else np.zeros(lags)


def best_bpm(correlation: np.ndarray, rate: float, low: float, high: float) -> float:
    """Returns the tempo from `low` to `high` whose multiples correlate best, in beats per minute.

    The first search takes all tempos in steps of 0.1 and multiples of the beat up to 8 s. Each of the next searches
    takes multiples eight times as long, up to half the sound, and tempos around the best one in steps of an eighth:
    an error of the beat adds up over the sound.
    """
    bpm = low + _STEP_BPM * np.arange(int((high - low) / _STEP_BPM + 1e-6) + 1)
    longest, step = FIRST_SECONDS * rate, _STEP_BPM
    best = float(bpm[np.argmax(scores(correlation, 60 * rate / bpm, longest))])
    is_last = False
    while not is_last:
        is_last = longest * _LONGER >= len(correlation)
        longest, step = longest * _LONGER, step / _LONGER
        bpm = np.clip(best + step * np.arange(-_STEPS_AROUND, _STEPS_AROUND + 1), low, high)
        best = float(bpm[np.argmax(scores(correlation, 60 * rate / bpm, longest))])
    return best


def scores(correlation: np.ndarray, beats: np.ndarray, longest: float) -> np.ndarray:
    """Returns the mean of the correlation at all multiples, up to `longest`, of each of `beats`."""
    longest = min(longest, len(correlation) - 1)
    lags = beats[:, None] * np.arange(1, int(longest / beats.min()) + 1)
    return np.mean(np.interp(lags, np.arange(len(correlation)), correlation), axis=1, where=lags <= longest)


def score(correlation: np.ndarray, beat: float, rate: float) -> float:
    """Returns the score of one beat over multiples of up to 8 s."""
    return float(scores(correlation, np.array([beat]), FIRST_SECONDS * rate)[0])


def phase(envelope: np.ndarray, beat: float) -> float:
    """Returns the place of a downbeat: the comb with the highest mean, and then the loudest of its four beats."""
    starts = np.arange(0, beat, 0.5)
    first = float(starts[np.argmax(_means(envelope, starts, beat))])
    beats = first + beat * np.arange(4)
    return float(beats[np.argmax(_means(envelope, beats, 4 * beat))])


def _means(envelope: np.ndarray, starts: np.ndarray, period: float) -> np.ndarray:
    """Returns the mean of the envelope at start, start + period, ... for each of `starts`."""
    last = len(envelope) - 1
    places = starts[:, None] + period * np.arange(int(last / period) + 1)
    values = np.interp(places, np.arange(len(envelope)), envelope, right=0)
    return values.sum(axis=1) / np.maximum((places <= last).sum(axis=1), 1)
