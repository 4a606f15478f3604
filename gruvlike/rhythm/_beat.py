"""The beat of a sound: a record, and the search for it."""

from typing import NamedTuple

import numpy as np

from gruvlike import _checks
from gruvlike.rhythm import _comb
from gruvlike.rhythm._comb import FIRST_SECONDS
from gruvlike.rhythm._onsets import Onsets, onsets

LOW, HIGH = 85.0, 170.0  # the limits are an octave apart: of double and half tempo only one lies between
CLEAR = 0.15
BEATS_IN_BAR = 4
LEAST_RATE = 1000  # below it there are too few bins for bands

_SLOWEST, _FASTEST = 20, 400
_EDGE = 0.01
# The mean score of white noise is at most 0.42 / s, as measured with sounds of 3 to 60 s. It falls with the root from
# 16 s on.
_NOISE = 0.42
# The standard deviation of the envelope is 0.1 dB for noise, chords and vibrato, which can correlate with themselves by
# chance. It is 0.4 dB for music without drums, and 2 dB with drums.
_FAINT_DB = 0.3


class Beat(NamedTuple):
    """The beat of a piece of music, as `gruvlike.rhythm.tempo` finds it.

    Attributes:
        beat_seconds: Seconds from one beat to the next.
        phase_seconds: Time of a downbeat, the first beat of a bar of four, in [0, 4 * beat_seconds).
        confidence: How clear the beat is, in [0, 1]: 0 for silence, above `CLEAR` for music with drums.
        bpm: Beats per minute.
        clear: Whether the confidence is at least `CLEAR`.
    """

    beat_seconds: float
    phase_seconds: float
    confidence: float

    @property
    def bpm(self) -> float:
        return 60 / self.beat_seconds

    @property
    def clear(self) -> bool:
        return self.confidence >= CLEAR

    def shift(self, seconds: float) -> "Beat":
        """Returns the same beat, seen from a later start.

        Args:
            seconds: The time at which the new start lies; a negative one lies earlier.

        Returns:
            The beat with another `phase_seconds`.

        Example:
            >>> from gruvlike.rhythm import Beat
            >>> Beat(beat_seconds=0.5, phase_seconds=0.25, confidence=0.8).shift(1.0)
            Beat(beat_seconds=0.5, phase_seconds=1.25, confidence=0.8)
        """
        bar = BEATS_IN_BAR * self.beat_seconds
        phase = (self.phase_seconds - _checks.number("seconds", seconds)) % bar
        return self._replace(phase_seconds=phase if phase < bar else 0.0)  # a tiny negative number rounds up to `bar`


def find(samples: np.ndarray, sample_rate: int, bpm: float | None = None, low: float = LOW, high: float = HIGH) -> Beat:
    """Returns the beat of mono samples, float or int16. Too short a sound has a beat without confidence."""
    nothing = Beat(60 / (bpm or (low * high) ** 0.5), 0.0, 0.0)
    if len(samples) < least_samples(sample_rate, bpm or low) or sample_rate < LEAST_RATE:
        return nothing
    sound = onsets(samples, sample_rate)
    if not sound.envelope.any():
        return nothing
    correlation = _comb.correlation(sound.envelope)
    beat = 60 / (bpm or _comb.best_bpm(correlation, sound.rate, low, high))
    score = _comb.score(correlation, beat * sound.rate, sound.rate)
    phase = sound.start + _comb.phase(sound.envelope, sound.bass, beat * sound.rate) / sound.rate
    return Beat(beat, phase, _confidence(sound, score)).shift(0)


def least_samples(sample_rate: int, bpm: float) -> int:
    """Returns how long a sound has to be: a bar at `bpm`, the slowest tempo."""
    return int(np.ceil(BEATS_IN_BAR * 60 / bpm * sample_rate))


def _confidence(sound: Onsets, score: float) -> float:
    """Returns the score beyond that of noise, as a share of the rest; less if the onsets are faint.

    The best of all tempos has a score above 0 in noise, too: the more, the shorter the sound is.
    """
    seconds = len(sound.envelope) / sound.rate
    noise = _NOISE / (seconds * min(seconds, 2 * FIRST_SECONDS)) ** 0.5
    variance = float(sound.envelope.var())
    share = max(0.0, score - noise) / max(1 - noise, 0.1)
    return round(min(1.0, share * variance / (variance + _FAINT_DB**2)), 4)


def check_bpm(name: str, bpm: float) -> float:
    """Returns a tempo that was given by hand, or raises if it is none."""
    return _checks.number(name, bpm, _SLOWEST, _FASTEST)


def at_edge(beat: Beat, low: float = LOW, high: float = HIGH) -> bool:
    """Whether a tempo lies at the edge of the range in which it was sought, so that another may be the true one."""
    return beat.clear and (beat.bpm <= low * (1 + _EDGE) or beat.bpm >= high * (1 - _EDGE))
