"""Beats of a tempo that moves, by dynamic programming.

The method is that of `librosa.beat.beat_track`. librosa compiles it on first use, and two processes that do so at once
leave a cache with which each later call ends the process (numba issue 10128). In numpy nothing is compiled.
"""

import numpy as np

_TIGHTNESS = 100  # a distance that is not the beat costs so much


def track(envelope: np.ndarray, beat: float) -> np.ndarray:
    """Returns the places of beats: strong in the envelope, and about `beat` values apart.

    The score of a place is its onset, and the best score of an earlier place less the cost of the distance between
    both. The last beat is the best place of the last beat's length; each beat knows the one before.
    """
    onset = _smoothed(envelope, beat)
    lags = np.arange(round(beat / 2), round(2 * beat) + 1)
    costs = _TIGHTNESS * np.log(lags / beat) ** 2
    scores = np.zeros(lags[-1] + len(onset))  # in front of the sound all scores are 0
    before = np.empty(len(onset), int)
    for start in range(0, len(onset), lags[0]):  # no place depends on a place less than lags[0] before it
        places = np.arange(start, min(start + lags[0], len(onset)))
        earlier = scores[lags[-1] + places[:, None] - lags] - costs
        best = earlier.argmax(axis=1)
        gain = np.maximum(earlier[np.arange(len(places)), best], 0)
        before[places] = np.where(gain > 0, places - lags[best], -1)
        scores[lags[-1] + places] = onset[places] + gain
    tail = len(onset) - round(beat)
    found = [tail + int(scores[lags[-1] + tail :].argmax())]
    while before[found[-1]] >= 0:
        found.append(int(before[found[-1]]))
    return np.array(found[::-1])


def _smoothed(envelope: np.ndarray, beat: float) -> np.ndarray:
    """Returns the envelope in units of its deviation, smoothed over a fraction of the beat."""
    reach = round(beat)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * 32 / beat) ** 2)
    return np.convolve(envelope / envelope.std(), kernel, "same")
