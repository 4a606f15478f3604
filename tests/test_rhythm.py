"""`gruvlike.rhythm`: tempo, phase and confidence, against sounds whose beat is known, and against librosa."""

import warnings

import librosa
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import rhythm, tune
from gruvlike.rhythm import Beat, _comb
from gruvlike.rhythm._onsets import onsets

RATE = 16_000


def clicks(times, seconds, rate=RATE, gains=None):
    """Short noises that begin at these times, over faint noise."""
    random = np.random.default_rng(0)
    samples = 1e-3 * random.standard_normal(round(seconds * rate))
    size = round(0.03 * rate)
    click = random.standard_normal(size) * np.exp(-np.arange(size) / (0.006 * rate))
    for time, gain in zip(times, np.ones(len(times)) if gains is None else gains, strict=True):
        start = round(time * rate)
        samples[start : start + size] += 0.2 * gain * click[: len(samples) - start]
    return samples.astype(np.float32)


def regular(bpm, first, seconds):
    return np.arange(first, seconds - 0.05, 60 / bpm)


def difference(one, other, period):
    """Distance of two times on a circle."""
    return abs((one - other + period / 2) % period - period / 2)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize(("bpm", "first"), [(88.8, 0.31), (100, 0.02), (123.4, 0.4), (140, 0.2), (166.7, 0.111)])
def test_clicks_of_a_known_beat(bpm, first, rate):
    beat = rhythm.tempo(clicks(regular(bpm, first, 10), 10, rate), rate)
    assert beat.bpm == pytest.approx(bpm, rel=1e-3)
    assert difference(beat.phase_seconds, first, beat.beat_seconds) < 0.01
    assert 0 <= beat.phase_seconds < 4 * beat.beat_seconds
    assert beat.confidence > 0.8
    assert beat.clear
    assert beat.beat_seconds == 60 / beat.bpm


def test_the_downbeat_has_the_most_bass_of_four():
    """Here it is the softest in all other bands."""
    times = regular(120, 0.2, 12)
    t = np.arange(RATE // 10) / RATE
    drum = 0.3 * np.sin(2 * np.pi * 80 * t) * np.exp(-t / 0.03)
    for place in range(4):
        gains = np.where(np.arange(len(times)) % 4 == place, 0.5, 1.0)
        samples = clicks(times, 12, gains=gains)
        for time in times[place::4]:
            samples[round(time * RATE) :][: len(drum)] += drum
        beat = rhythm.tempo(samples, RATE)
        assert difference(beat.phase_seconds, 0.2 + place * 0.5, 2.0) < 0.008


def test_a_long_sound_is_refined():
    """After four minutes the beat is still met: an error of 0.1 bpm would be off by half a beat."""
    beat = rhythm.tempo(clicks(regular(113.37, 0.25, 240), 240, 4000), 4000)
    assert beat.bpm == pytest.approx(113.37, abs=0.003)
    assert difference(beat.phase_seconds, 0.25, beat.beat_seconds) < 0.008


@pytest.mark.parametrize("random_seed", range(6))
def test_the_built_in_tune(random_seed):
    """Its tempo is the first number that it draws; bars begin at sample 0."""
    bpm = np.random.default_rng(random_seed).integers(96, 125)
    samples = tune.compose(20, RATE, random_seed)
    beat = rhythm.tempo(samples, RATE)
    assert beat.bpm == pytest.approx(bpm, abs=0.1)
    assert difference(beat.phase_seconds, 0, beat.beat_seconds * 2) < 0.02  # the bass drum plays on beats 1 and 3
    assert beat.confidence > 0.5
    excerpt = rhythm.tempo(samples[5 * RATE : 13 * RATE], RATE)
    assert excerpt.bpm == pytest.approx(bpm, rel=0.005)
    assert difference(excerpt.phase_seconds, beat.shift(5).phase_seconds, beat.beat_seconds) < 0.03


def test_samples_and_pcm_give_the_same():
    samples = tune.compose(8, RATE)
    pcm = np.rint(samples * 32767).astype("int16")
    found, expected = rhythm.tempo(pcm, RATE), rhythm.tempo(samples, RATE)
    assert found == pytest.approx(expected, abs=0.01)
    assert rhythm.tempo(0.01 * samples, RATE) == pytest.approx(expected, abs=0.01)
    assert rhythm.tempo(samples.astype("float64"), RATE) == expected


def noise(random, seconds):
    return random.standard_normal(seconds * RATE) / 10


def irregular(random, seconds):
    times = np.cumsum(random.exponential(0.4, 4 * seconds))
    return clicks(times[times < seconds - 0.1], seconds)


def chord(random, seconds):
    t = np.arange(seconds * RATE) / RATE
    return sum(np.sin(2 * np.pi * hz * t + random.uniform(0, 6)) for hz in (220, 277.18, 329.63, 440.7)) / 8


def pad(random, seconds):
    """Detuned sawtooth-like voices, which beat."""
    t = np.arange(seconds * RATE) / RATE
    partials = [(k * hz * d, 1 / k) for hz in (220, 277.18, 329.63) for k in range(1, 6) for d in (1, 1.003, 0.996)]
    return sum(gain * np.sin(2 * np.pi * hz * t + random.uniform(0, 6)) for hz, gain in partials) / 20


def sine(random, seconds):
    """A tone whose frames repeat after 25 hops."""
    return np.sin(2 * np.pi * 440 * np.arange(seconds * RATE) / RATE) / 2


@pytest.mark.parametrize("make", [noise, irregular, chord, pad, sine])
@pytest.mark.parametrize("seconds", [3, 12])
def test_sounds_without_a_beat_are_not_clear(make, seconds):
    for random_seed in range(2):
        beat = rhythm.tempo(make(np.random.default_rng(random_seed), seconds), RATE)
        assert beat.confidence < rhythm.CLEAR
        assert not beat.clear
        assert 85 <= beat.bpm <= 170


@pytest.mark.parametrize("value", [0, 0.3])
def test_silence_has_no_beat_and_brings_no_warning(value):
    beat = rhythm.tempo(np.full(5 * RATE, value, "float32"), RATE)
    assert beat.confidence == 0
    assert beat.phase_seconds == 0
    assert beat.bpm == pytest.approx((85 * 170) ** 0.5)
    assert rhythm.tempo(np.zeros(5 * RATE, "int16"), RATE, bpm=100) == (0.6, 0, 0)


def test_a_tempo_by_hand():
    samples = clicks(regular(120, 0.2, 12), 12)
    beat = rhythm.tempo(samples, RATE, bpm=60)
    assert beat.bpm == 60
    assert difference(beat.phase_seconds, 0.2, 0.5) < 0.015
    assert beat.clear
    assert not rhythm.tempo(samples, RATE, bpm=101.3).clear
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rhythm.tempo(samples, RATE, bpm=170.0).bpm == 170


def test_a_tempo_at_the_edge_is_reported():
    samples = clicks(regular(120, 0.2, 12), 12)
    with pytest.warns(UserWarning, match=r"120\.0 beats per minute, is at the edge of the range 70 to 120: half or"):
        rhythm.tempo(samples, RATE, low=70, high=120)
    assert rhythm.tempo(samples, RATE, low=100, high=140).bpm == pytest.approx(120, abs=0.1)


def test_too_short_a_sound():
    with pytest.raises(ValueError, match=r"2\.82 s at 85 beats per minute. Received: 2\.82 s. Use a longer"):
        rhythm.tempo(np.ones(45_176), RATE)
    rhythm.tempo(np.zeros(45_177), RATE)
    rng = np.random.default_rng(0)
    for size in (45_177, 45_300, 46_000):  # the shortest sounds
        assert not rhythm.tempo(rng.standard_normal(size), RATE).clear
    with pytest.raises(ValueError, match=r"2\.00 s at 120 beats per minute. Received: 1\.00 s. Use a longer"):
        rhythm.tempo(np.ones(RATE), RATE, bpm=120)
    assert rhythm.tempo(clicks(regular(120, 0.1, 2), 2), RATE, bpm=120).beat_seconds == 0.5


def test_bad_arguments():
    good = np.zeros(5 * RATE, "float32")
    bad = good.copy()
    bad[[7, 9]] = np.nan
    with pytest.raises(ValueError, match="2 NaN or infinite"):
        rhythm.tempo(bad, RATE)
    for samples in (np.zeros((2, RATE)), np.zeros((2, RATE), "int16"), np.zeros(0), [1, 2, 3]):
        with pytest.raises(ValueError, match="`samples` must be"):
            rhythm.tempo(samples, RATE)
    for rate in (0, -1, 16e3, True, 999):
        with pytest.raises(ValueError, match="`sample_rate` must be"):
            rhythm.tempo(good, rate)
    for name, value in [("bpm", 0), ("bpm", np.nan), ("bpm", 401), ("low", 0), ("high", 85), ("high", 500)]:
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            rhythm.tempo(good, RATE, **{name: value})
    with pytest.raises(ValueError, match="`seconds` must be"):
        Beat(0.5, 0, 1).shift(np.inf)


def test_a_beat_is_shifted():
    beat = Beat(0.5, 0.3, 0.9)
    assert beat.shift(0.1) == pytest.approx((0.5, 0.2, 0.9))
    assert beat.shift(1).phase_seconds == pytest.approx(1.3)
    assert beat.shift(-4) == pytest.approx(beat)
    assert beat.shift(0.3 + 1e-17).phase_seconds == 0
    assert Beat(0.5, 0, 1).shift(1e-17).phase_seconds == 0  # not 2.0, which is the next bar
    assert (beat.bpm, beat.clear, Beat(0.5, 0, 0.1).clear) == (120, True, False)


# --- against librosa and numpy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_envelope_is_librosas(rate):
    samples = tune.compose(12, rate, random_seed=4)
    ours = onsets(samples, rate)
    hop = round(rate / ours.rate)
    theirs = librosa.onset.onset_strength(y=samples, sr=rate, hop_length=hop, n_fft=round(0.064 * rate), n_mels=64)
    theirs = np.interp(
        ours.start + 1.5 / ours.rate + np.arange(len(ours.envelope)) / ours.rate,
        np.arange(len(theirs)) * hop / rate,
        theirs,
    )
    whole = slice(2, -round(2.2 * ours.rate))  # the end fades to silence, where floors differ
    assert np.corrcoef(ours.envelope[whole], theirs[whole])[0, 1] > 0.97


def test_pieces_make_no_difference(monkeypatch):
    samples = tune.compose(5, 8000)
    whole = onsets(samples, 8000).envelope
    monkeypatch.setattr("gruvlike.rhythm._onsets._PIECE", 7)
    np.testing.assert_allclose(onsets(samples, 8000).envelope, whole, atol=1e-4)


def test_the_correlation_is_that_of_the_definition(rng):
    envelope = rng.random(301)
    found = _comb.correlation(envelope)
    centered = envelope - envelope.mean()
    expected = np.array([np.mean(centered[: 301 - lag] * centered[lag:]) for lag in range(226)])
    np.testing.assert_allclose(found, expected / expected[0], atol=1e-12)
    assert not _comb.correlation(np.ones(50)).any()


def test_a_score_is_the_mean_over_the_multiples(rng):
    correlation = rng.random(100)
    found = _comb.scores(correlation, np.array([10.5, 30.0]), 64)
    expected = [
        np.mean([np.interp(10.5 * k, range(100), correlation) for k in range(1, 7)]),
        correlation[[30, 60]].mean(),
    ]
    np.testing.assert_allclose(found, expected)


# --- a tempo that moves -----------------------------------------------------------------------------------------------


def test_the_tracker_follows_a_tempo_that_moves():
    """From 110 to 130 beats per minute: a fixed tempo loses these beats, the tracker does not."""
    times = 0.3 + np.cumsum(60 / np.linspace(110, 130, 50))
    samples = clicks(times, times[-1] + 0.5)
    found = rhythm.beats(samples, RATE)
    off = np.abs(found[:, None] - times).min(axis=0)
    assert np.mean(off < 0.03) > 0.9
    fixed = rhythm.tempo(samples, RATE)
    grid = np.arange(fixed.phase_seconds % fixed.beat_seconds, times[-1], fixed.beat_seconds)
    assert np.mean(np.abs(grid[:, None] - times).min(axis=0) < 0.03) < 0.6


def test_the_tracker_and_a_fixed_tempo_agree():
    samples = tune.compose(12, RATE, random_seed=1)
    beat, found = rhythm.tempo(samples, RATE), rhythm.beats(samples, RATE)
    assert np.median(np.diff(found)) == pytest.approx(beat.beat_seconds, abs=0.01)
    assert np.median(difference(found, beat.phase_seconds, beat.beat_seconds)) < 0.02
    assert rhythm.beats(np.zeros(5 * RATE), RATE).size == 0
    assert np.median(np.diff(rhythm.beats(samples, RATE, bpm=2 * beat.bpm))) == pytest.approx(
        beat.beat_seconds / 2, abs=0.02
    )
    with pytest.raises(ValueError, match="must fit into the sound"):
        rhythm.beats(samples[:RATE], RATE)


def test_reachable_at_the_top():
    assert gl.rhythm is rhythm
