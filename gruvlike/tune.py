"""A tune that the package composes itself: chords, arpeggio, bass, melody and drums.

The demo, the examples and the tests use it as music without copyright.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import cycle
from typing import NamedTuple

import numpy as np

from gruvlike import _checks

_MINOR, _MAJOR = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)
# A progression is a scale, and the roots of four bars as degrees of that scale.
_PROGRESSIONS = (
    (_MINOR, (0, 5, 2, 6)),
    (_MINOR, (0, 3, 5, 4)),
    (_MINOR, (0, 6, 5, 6)),
    (_MAJOR, (0, 4, 5, 3)),
    (_MAJOR, (0, 5, 3, 4)),
    (_MAJOR, (3, 0, 4, 5)),
)
# The notes of the melody begin at these eighths of a bar.
_RHYTHMS = ((0, 3, 6), (0, 2, 3, 4, 6), (0, 1, 2, 4), (0, 4, 6, 7), (0, 3, 4, 7), (2, 3, 4, 6))
_PHRASE = 4  # bars
_STEPS = 16  # sixteenths in a bar
_LOOP_SECONDS = 90.0  # a longer tune has sections
_TAIL_SECONDS = 1.0  # the echo and the drums of a section end within this time after it


class _Section(NamedTuple):
    """A part of the tune: its theme (chords, rhythms, phrases), its length, and how loud and dense the voices are."""

    theme: int = 0
    bars: int = 8
    phrases: tuple[int, ...] = (0, 2)  # 0 and 1 come back with the theme, 2 belongs to this section alone
    melody: float = 1.0
    lowest: int = 6  # degree of the melody
    chords: float = 1.0
    arpeggio: int = 8  # notes a bar
    bass: float = 1.0
    drums: float = 1.0  # kick and snare
    kicks: tuple[int, ...] = (0, 8)  # sixteenths of the bar; the theme adds one
    hats: int = 8  # strokes a bar


_INTRO = _Section(bars=4, melody=0, bass=0, drums=0)
_BODY = (
    _Section(),
    _Section(theme=1, lowest=8, arpeggio=16, kicks=(0, 4, 8, 12), hats=16),
    _Section(),
    _Section(theme=2, bars=4, lowest=4, chords=2, arpeggio=4, bass=0, drums=0, hats=4),
    _Section(theme=1, lowest=13, chords=1.5, kicks=(0, 4, 8, 12), hats=16),
)
_OUTRO = _Section(bars=4, melody=0, drums=0)


def compose(seconds: float = 60.0, sample_rate: int = 16_000, random_seed: int = 0) -> np.ndarray:
    """Composes a tune and plays it: the same `random_seed` gives the same samples.

    The bass plays the roots of the chords, the arpeggio their notes. The melody moves through the scale by small steps
    and plays chord notes on strong beats. Key and tempo (`bpm`) do not change, and bars count from the first sample.

    Up to 90 seconds, four chords repeat. A longer tune has sections: an introduction; then A, B, A, a break without
    drums, and B in a higher register, over and over; and an ending. Each of A, B and the break has its chords, rhythms
    and first phrase of the melody. The second phrase is new in each section.

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
    rng = _generator(random_seed)

    step_seconds = 60 / _tempo(rng) / 4
    bars = int(np.ceil(seconds / (_STEPS * step_seconds)))
    sections = _form(bars) if seconds > _LOOP_SECONDS else [_Section(bars=bars, phrases=(0, 0, 1, 0))]
    scale, roots = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    # Each theme has a progression, and all of them have one scale. The one that was drawn is the first.
    themes = sorted((other for among, other in _PROGRESSIONS if among == scale), key=lambda other: other != roots)
    chords = np.concatenate([np.resize(themes[section.theme], section.bars) for section in sections])
    size = round(seconds * sample_rate)
    score = _Score(int(rng.integers(45, 53)), scale, chords, step_seconds, size, sample_rate)
    return _finish(_perform(score, sections, rng), sample_rate)


def bpm(random_seed: int = 0) -> int:
    """Returns the tempo of the tune that `compose` makes of the same `random_seed`.

    Args:
        random_seed: As in `compose`.

    Returns:
        Beats a minute, 96 to 124. Four beats are a bar.

    Raises:
        ValueError: If `random_seed` is no integer, or negative.

    Example:
        >>> from gruvlike import tune
        >>> 96 <= tune.bpm(random_seed=3) <= 124
        True
    """
    return _tempo(_generator(random_seed))


def _generator(random_seed: int) -> np.random.Generator:
    return np.random.default_rng(_checks.positive_int("random_seed", random_seed, minimum=0))


def _tempo(rng: np.random.Generator) -> int:
    """Draws the beats a minute, the first number of all."""
    return int(rng.integers(96, 125))


def _form(bars: int) -> list[_Section]:
    """Returns sections of so many bars in all. The last of the body has at least a phrase, and takes the rest."""
    sections, left, body = [_INTRO], bars - _INTRO.bars - _OUTRO.bars, cycle(_BODY)
    while left >= (section := next(body)).bars + _PHRASE:
        sections.append(section)
        left -= section.bars
    return [*sections, section._replace(bars=left), _OUTRO]


@dataclass(frozen=True)
class _Score:
    """The key, the chords, the grid of sixteenths and the length in samples: all voices play from the same score."""

    key: int
    scale: tuple[int, ...]
    roots: np.ndarray  # each bar has its root
    step_seconds: float
    size: int
    sample_rate: int
    start: int = 0  # the sixteenth of the tune at which the score begins

    @property
    def bars(self) -> int:
        return len(self.roots)

    def part(self, bar: int, bars: int) -> "_Score":
        """Returns the score of some bars. It is longer than they are, by a tail, if the tune goes on."""
        begin, end = self.samples(np.array((bar, bar + bars)) * _STEPS)
        size = min(end + round(_TAIL_SECONDS * self.sample_rate), self.size) - begin
        return replace(self, roots=self.roots[bar : bar + bars], size=int(size), start=self.start + bar * _STEPS)

    def hz(self, degrees: np.ndarray) -> np.ndarray:
        """Returns the frequencies of degrees of the scale: 0 is the key, 7 an octave higher."""
        octave, degree = np.divmod(degrees, len(self.scale))
        return 440 * 2 ** ((self.key + 12 * octave + np.array(self.scale)[degree] - 69) / 12)

    def samples(self, steps: np.ndarray) -> np.ndarray:
        """Returns the sample of the score at which each of `steps` (in sixteenths) begins."""
        first, steps = (
            np.round(np.asarray(count) * self.step_seconds * self.sample_rate).astype(int)
            for count in (self.start, self.start + steps)
        )
        return steps - first

    def line(
        self, starts: np.ndarray, stops: np.ndarray, degrees: np.ndarray, overtones: tuple[float, ...], decay: float
    ) -> np.ndarray:
        """Plays one voice: a note from each start to each stop (in sixteenths), falling to 1/e in `decay` seconds."""
        starts, stops = self.samples(starts), self.samples(stops)
        keep = starts < self.size
        starts, stops, hz = starts[keep], stops[keep], self.hz(degrees[keep])
        if not starts.size:
            return np.zeros(self.size)
        note = np.repeat(np.arange(-1, len(starts)), np.diff(starts, prepend=0, append=self.size))
        age = (np.arange(self.size) - starts[note]) / self.sample_rate
        left = (stops[note] - np.arange(self.size)) / self.sample_rate
        # A short attack and release keep notes from clicking. Before the first note the voice is silent.
        envelope = np.clip(age / 0.006, 0, 1) * np.clip(left / 0.02, 0, 1) * np.exp(-np.maximum(age, 0) / decay)
        envelope[note < 0] = 0
        phase = 2 * np.pi * np.cumsum(hz[note]) / self.sample_rate
        sound, before, overtone, twice = np.zeros(self.size), np.zeros(self.size), np.sin(phase), 2 * np.cos(phase)
        for k, gain in enumerate(overtones, 1):
            sound += np.where(k * hz < 0.45 * self.sample_rate, gain, 0)[note] * overtone
            # sin((k + 1) x) comes from two sines, without a further `np.sin`.
            before, overtone = overtone, twice * overtone - before
        return sound * envelope

    def hits(self, pattern: np.ndarray, sound: np.ndarray) -> np.ndarray:
        """Plays one drum where `pattern`, gains of shape (bars, 16), is not 0."""
        track = np.zeros(self.size + sound.size)
        steps = np.flatnonzero(pattern)
        for start, gain in zip(self.samples(steps), pattern.ravel()[steps], strict=True):
            if start < self.size:
                track[start : start + sound.size] += gain * sound
        return track[: self.size]


def _perform(score: _Score, sections: Sequence[_Section], rng: np.random.Generator) -> np.ndarray:
    """Plays the sections. Those of the same theme draw the same random numbers, apart from one phrase of melody."""
    themes, own = [rng, *rng.spawn(2)], rng.spawn(len(sections))
    samples, bar = np.zeros(score.size), 0
    for section, other in zip(sections, own, strict=True):
        part, begin = score.part(bar, section.bars), score.samples(np.array(bar * _STEPS))
        samples[begin : begin + part.size] += _play(part, section, deepcopy(themes[section.theme]), other)
        bar += section.bars
    return samples


def _play(score: _Score, section: _Section, rng: np.random.Generator, own: np.random.Generator) -> np.ndarray:
    melody, arpeggio = _melody(score, section, rng, own), _arpeggio(score, section, rng)
    echo = score.samples(np.array(3))
    wet = 0.5 * melody + 0.22 * arpeggio
    wet[echo:] += 0.35 * wet[:-echo]
    dry = wet + 0.12 * section.chords * _chords(score)
    return dry + 0.6 * section.bass * _bass(score, rng) + 0.9 * _drums(score, section, rng)


def _chords(score: _Score) -> np.ndarray:
    bars = np.arange(score.bars) * _STEPS
    voices = (score.line(bars, bars + _STEPS, score.roots + third, (1, 0.5, 0.25, 0.15), 4.0) for third in (0, 2, 4))
    return sum(voices, np.zeros(score.size))


def _arpeggio(score: _Score, section: _Section, rng: np.random.Generator) -> np.ndarray:
    shape = rng.permutation(np.array([7, 9, 11, 14]))[np.arange(section.arpeggio) % 4]
    length = _STEPS // section.arpeggio
    starts = np.arange(score.bars * section.arpeggio) * length
    degrees = (score.roots[:, None] + shape).ravel()
    return score.line(starts, starts + length, degrees, (1, 0.1, 0.3), 0.18)


def _bass(score: _Score, rng: np.random.Generator) -> np.ndarray:
    rhythm = np.array([(0, 3, 6, 8, 11, 14), (0, 4, 6, 8, 12, 14), (0, 2, 6, 8, 10, 14)][rng.integers(3)])
    octaves = np.array([0, 0, 7, 0, 0, 4])
    starts = (np.arange(score.bars)[:, None] * _STEPS + rhythm).ravel()
    degrees = (score.roots[:, None] - 14 + octaves).ravel()
    return score.line(starts, np.append(starts[1:], score.bars * _STEPS), degrees, (1, 0.6, 0.35, 0.2), 0.35)


def _melody(score: _Score, section: _Section, rng: np.random.Generator, own: np.random.Generator) -> np.ndarray:
    """Plays phrases in the order of the section. In a section of three or more, the melody rests during the first."""
    phrases = [_phrase(score.roots, section.lowest, source) for source in (rng, rng, own)]
    first = _PHRASE if score.bars >= 3 * _PHRASE else 0
    onsets, degrees = [], []
    for bar in range(first, score.bars):
        turn, place = divmod(bar - first, _PHRASE)
        for eighth, degree in phrases[section.phrases[turn % len(section.phrases)]][place]:
            onsets.append(bar * _STEPS + 2 * eighth)
            degrees.append(degree)
    starts = np.array(onsets, dtype=int)
    stops = np.append(starts[1:], score.bars * _STEPS)
    line = score.line(starts, np.minimum(stops, starts + 8), np.array(degrees, dtype=int), (1, 0.35, 0.2, 0.1), 0.6)
    return section.melody * line


def _phrase(roots: np.ndarray, lowest: int, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Returns four bars of (eighth, degree): a random walk by small steps, with chord notes on strong beats."""
    degree, bars = lowest + 3, []
    for root in np.resize(roots, _PHRASE):
        bar = []
        for eighth in _RHYTHMS[rng.integers(len(_RHYTHMS))]:
            degree = int(np.clip(degree + rng.choice([-2, -1, -1, 1, 1, 2]), lowest, lowest + 9))
            if eighth % 4 == 0:
                chord = root + np.array([0, 2, 4, 7, 9, 11, 14, 16, 18, 21])
                degree = int(chord[np.argmin(abs(chord - degree))])
            bar.append((eighth, degree))
        bars.append(bar)
    return bars


def _drums(score: _Score, section: _Section, rng: np.random.Generator) -> np.ndarray:
    rate = score.sample_rate
    t = np.arange(round(0.3 * rate)) / rate
    noise = rng.standard_normal(t.size)
    kick = np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t / 0.025)))) * np.exp(-t / 0.09)
    snare = (0.35 * noise + 0.4 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.06)
    hat = 0.25 * np.diff(noise, prepend=0) * np.exp(-t / 0.02)

    beats = np.zeros((3, score.bars, _STEPS))
    beats[0][:, int(rng.choice([6, 10, 14]))] = 0.7
    beats[0][:, section.kicks] = 1
    beats[1][:, [4, 12]] = 0.8
    beats[1][_PHRASE - 1 :: _PHRASE, [13, 14, 15]] = (0.3, 0.4, 0.6)  # a fill comes before each phrase
    beats[:2] *= section.drums
    beats[2][:, :: _STEPS // section.hats] = np.resize((0.5, 0.9, 0.6, 1, 0.5, 0.9, 0.6, 0.8), section.hats)
    return sum(map(score.hits, beats, (kick, snare, hat)), np.zeros(score.size))


def _finish(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    fade = min(2 * sample_rate, samples.size // 4)
    samples[samples.size - fade :] *= np.linspace(1, 0, fade)
    return (samples * (0.8 / np.abs(samples).max())).astype(np.float32)
