"""A short tune that the package composes itself: chords, arpeggio, bass, melody and drums.

The demo, the examples and the tests use it as music without copyright.
"""

import numpy as np

from gruvlike import _checks

_MINOR, _MAJOR = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)
# A scale, and the roots of four bars as degrees of that scale.
_PROGRESSIONS = (
    (_MINOR, (0, 5, 2, 6)),
    (_MINOR, (0, 3, 5, 4)),
    (_MINOR, (0, 6, 5, 6)),
    (_MAJOR, (0, 4, 5, 3)),
    (_MAJOR, (0, 5, 3, 4)),
    (_MAJOR, (3, 0, 4, 5)),
)
# The eighths of a bar at which notes of the melody begin.
_RHYTHMS = ((0, 3, 6), (0, 2, 3, 4, 6), (0, 1, 2, 4), (0, 4, 6, 7), (0, 3, 4, 7), (2, 3, 4, 6))
_PHRASE = 4  # bars
_STEPS = 16  # sixteenths in a bar


def compose(seconds: float = 60.0, sample_rate: int = 16_000, random_seed: int = 0) -> np.ndarray:
    """Composes a tune and plays it: the same `random_seed` gives the same samples.

    Four chords repeat in one key. The bass plays their roots, the arpeggio their notes. The melody moves through the
    scale by small steps and plays chord notes on strong beats.

    Args:
        seconds: Length of the tune.
        sample_rate: Samples a second, at least 4000.
        random_seed: Chooses key, tempo, chords, rhythms and melody.

    Returns:
        Float32 samples of shape (S,), S = round(seconds * sample_rate), with a peak of 0.8. The end fades out.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> from gruvlike import tune
        >>> tune.compose(seconds=2, sample_rate=8000).shape
        (16000,)
    """
    seconds = _checks.number("seconds", seconds, 0.1, 3600)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=4000)
    rng = np.random.default_rng(_checks.positive_int("random_seed", random_seed, minimum=0))

    size = round(seconds * sample_rate)
    step_seconds = 60 / rng.integers(96, 125) / 4
    bars = int(np.ceil(seconds / (_STEPS * step_seconds)))
    scale, roots = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    score = _Score(int(rng.integers(45, 53)), scale, np.resize(roots, bars), step_seconds, size, sample_rate)
    return _finish(_play(score, rng), sample_rate)


class _Score:
    """The key, the chords, the grid of sixteenths and the length in samples: all voices play from the same score."""

    def __init__(self, key: int, scale: tuple[int, ...], roots: np.ndarray, step_seconds: float, size: int, rate: int):
        self.key, self.scale, self.roots = key, np.array(scale), roots
        self.step_seconds, self.size, self.sample_rate = step_seconds, size, rate
        self.bars = len(roots)

    def hz(self, degrees: np.ndarray) -> np.ndarray:
        """Returns the frequencies of degrees of the scale: 0 is the key, 7 an octave higher."""
        octave, degree = np.divmod(degrees, len(self.scale))
        return 440 * 2 ** ((self.key + 12 * octave + self.scale[degree] - 69) / 12)

    def samples(self, steps: np.ndarray) -> np.ndarray:
        """Returns the sample at which each of `steps` (in sixteenths) begins."""
        return np.round(np.asarray(steps) * self.step_seconds * self.sample_rate).astype(int)

    def line(
        self, starts: np.ndarray, stops: np.ndarray, degrees: np.ndarray, overtones: tuple[float, ...], decay: float
    ) -> np.ndarray:
        """Plays one voice: a note from each start to each stop (in sixteenths), falling to 1/e in `decay` seconds."""
        starts, stops = self.samples(starts), self.samples(stops)
        keep = starts < self.size
        starts, stops, hz = starts[keep], stops[keep], self.hz(degrees[keep])
        if not starts.size:
            return np.zeros(self.size)
        note = np.searchsorted(starts, np.arange(self.size), side="right") - 1
        age = (np.arange(self.size) - starts[note]) / self.sample_rate
        left = (stops[note] - np.arange(self.size)) / self.sample_rate
        # A short attack and release keep notes from clicking. Before the first note the voice is silent.
        envelope = np.clip(age / 0.006, 0, 1) * np.clip(left / 0.02, 0, 1) * np.exp(-np.maximum(age, 0) / decay)
        envelope[note < 0] = 0
        phase = 2 * np.pi * np.cumsum(hz[note]) / self.sample_rate
        sound = np.zeros(self.size)
        for k, gain in enumerate(overtones, 1):
            sound += np.where(k * hz < 0.45 * self.sample_rate, gain, 0)[note] * np.sin(k * phase)
        return sound * envelope

    def hits(self, pattern: np.ndarray, sound: np.ndarray) -> np.ndarray:
        """Plays one drum where `pattern`, gains of shape (bars, 16), is not 0."""
        track = np.zeros(self.size + sound.size)
        steps = np.flatnonzero(pattern)
        for start, gain in zip(self.samples(steps), pattern.ravel()[steps], strict=True):
            if start < self.size:
                track[start : start + sound.size] += gain * sound
        return track[: self.size]


def _play(score: _Score, rng: np.random.Generator) -> np.ndarray:
    melody, arpeggio = _melody(score, rng), _arpeggio(score, rng)
    echo = score.samples(np.array(3))
    wet = 0.5 * melody + 0.22 * arpeggio
    wet[echo:] += 0.35 * wet[:-echo]
    return wet + 0.12 * _chords(score) + 0.6 * _bass(score, rng) + 0.9 * _drums(score, rng)


def _chords(score: _Score) -> np.ndarray:
    bars = np.arange(score.bars) * _STEPS
    voices = (score.line(bars, bars + _STEPS, score.roots + third, (1, 0.5, 0.25, 0.15), 4.0) for third in (0, 2, 4))
    return sum(voices, np.zeros(score.size))


def _arpeggio(score: _Score, rng: np.random.Generator) -> np.ndarray:
    shape = rng.permutation(np.array([7, 9, 11, 14]))[np.arange(8) % 4]
    starts = np.arange(score.bars * 8) * 2
    degrees = (score.roots[:, None] + shape).ravel()
    return score.line(starts, starts + 2, degrees, (1, 0.1, 0.3), 0.18)


def _bass(score: _Score, rng: np.random.Generator) -> np.ndarray:
    rhythm = np.array([(0, 3, 6, 8, 11, 14), (0, 4, 6, 8, 12, 14), (0, 2, 6, 8, 10, 14)][rng.integers(3)])
    octaves = np.array([0, 0, 7, 0, 0, 4])
    starts = (np.arange(score.bars)[:, None] * _STEPS + rhythm).ravel()
    degrees = (score.roots[:, None] - 14 + octaves).ravel()
    return score.line(starts, np.append(starts[1:], score.bars * _STEPS), degrees, (1, 0.6, 0.35, 0.2), 0.35)


def _melody(score: _Score, rng: np.random.Generator) -> np.ndarray:
    """Plays two phrases in the order A A B A. In a tune of three phrases or more, the melody rests during the first."""
    phrases = [_phrase(score.roots, rng) for _ in range(2)]
    first = _PHRASE if score.bars >= 3 * _PHRASE else 0
    onsets, degrees = [], []
    for bar in range(first, score.bars):
        turn, place = divmod(bar - first, _PHRASE)
        for eighth, degree in phrases[turn % 4 == 2][place]:
            onsets.append(bar * _STEPS + 2 * eighth)
            degrees.append(degree)
    starts = np.array(onsets, dtype=int)
    stops = np.append(starts[1:], score.bars * _STEPS)
    return score.line(starts, np.minimum(stops, starts + 8), np.array(degrees, dtype=int), (1, 0.35, 0.2, 0.1), 0.6)


def _phrase(roots: np.ndarray, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Returns four bars of (eighth, degree): a random walk by small steps, with chord notes on strong beats."""
    degree, bars = 9, []
    for root in np.resize(roots, _PHRASE):
        bar = []
        for eighth in _RHYTHMS[rng.integers(len(_RHYTHMS))]:
            degree = int(np.clip(degree + rng.choice([-2, -1, -1, 1, 1, 2]), 6, 15))
            if eighth % 4 == 0:
                chord = root + np.array([0, 2, 4, 7, 9, 11, 14])
                degree = int(chord[np.argmin(abs(chord - degree))])
            bar.append((eighth, degree))
        bars.append(bar)
    return bars


def _drums(score: _Score, rng: np.random.Generator) -> np.ndarray:
    rate = score.sample_rate
    t = np.arange(round(0.3 * rate)) / rate
    noise = rng.standard_normal(t.size)
    kick = np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t / 0.025)))) * np.exp(-t / 0.09)
    snare = (0.35 * noise + 0.4 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.06)
    hat = 0.25 * np.diff(noise, prepend=0) * np.exp(-t / 0.02)

    beats = np.zeros((3, score.bars, _STEPS))
    beats[0][:, [0, 8, int(rng.choice([6, 10, 14]))]] = (1, 1, 0.7)
    beats[1][:, [4, 12]] = 0.8
    beats[2][:, ::2] = (0.5, 0.9, 0.6, 1, 0.5, 0.9, 0.6, 0.8)
    beats[1][_PHRASE - 1 :: _PHRASE, [13, 14, 15]] = (0.3, 0.4, 0.6)  # a fill before each phrase
    return sum(map(score.hits, beats, (kick, snare, hat)), np.zeros(score.size))


def _finish(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    fade = min(2 * sample_rate, samples.size // 4)
    samples[samples.size - fade :] *= np.linspace(1, 0, fade)
    return (samples * (0.8 / np.abs(samples).max())).astype(np.float32)
