"""pulse, onset_rate, flux, rhythm patterns: known rhythms, the yardstick, controls, silence, errors."""

import ast
import re
from pathlib import Path

import librosa
import numpy as np
import pytest

from gruvlike import metrics, tune
from gruvlike.metrics import _pulse

RATE = 16_000


def clicks(seconds, beat, rate=RATE, accents=(1.0,), start=0.0):
    """Bursts of noise of 30 ms, one a beat, at the given strengths in turn."""
    burst = np.random.default_rng(0).normal(size=round(0.03 * rate)) * np.linspace(1, 0, round(0.03 * rate))
    sound = np.zeros(round(seconds * rate) + len(burst), "float32")
    for index, time in enumerate(np.arange(start, seconds - 1e-9, beat)):
        place = round(time * rate)
        sound[place : place + len(burst)] += 0.3 * accents[index % len(accents)] * burst
    return sound[: round(seconds * rate)]


@pytest.fixture(scope="module")
def music():
    return tune.compose(6, RATE, random_seed=5)


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(3).normal(size=8 * RATE)).astype("float32")


@pytest.fixture
def yardstick(shared):
    """The functions of the yardstick that stands beside the checkout, without the network that it loads."""
    wanted = {"rms_db", "rhythm", "onset_bands", "folded", "alike", "flux"}
    tree = ast.parse((shared / "judge" / "judge.py").read_text("utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    names = {"np": np, "librosa": librosa, "RATE": RATE}
    exec(compile(tree, "judge.py", "exec"), names)
    return names


def test_all_agree_with_the_yardstick(yardstick, music, noise):
    for sound in (music, noise[: 5 * RATE], clicks(5, 0.47), np.zeros(5 * RATE, "float32")):
        pulse, onsets = yardstick["rhythm"](sound)
        assert metrics.pulse(sound, RATE) == pytest.approx(pulse, abs=1e-5)
        assert metrics.onset_rate(sound, RATE) == pytest.approx(onsets)
        assert metrics.flux(sound, RATE) == pytest.approx(yardstick["flux"](sound), abs=1e-5)
    ours, theirs = [], []
    for sound, start in ((music, 0.0), (clicks(8, 0.25, accents=(1, 0.3)), 1.37), (noise[: 4 * RATE], 8.0)):
        ours.append(metrics.rhythm_pattern(sound, RATE, 0.5, start_seconds=start))
        theirs.append(yardstick["folded"](yardstick["onset_bands"](sound), 0.5, start))
        assert ours[-1] - ours[-1].mean(axis=1, keepdims=True) == pytest.approx(theirs[-1], abs=1e-5)
    for k in range(3):
        expected = yardstick["alike"](theirs[0], theirs[k])
        assert metrics.rhythm_similarity(ours[0], ours[k]) == pytest.approx(expected, abs=1e-5)


def test_a_beat_has_a_pulse_and_noise_has_none(music, noise):
    assert metrics.pulse(clicks(8, 0.5), RATE) > 0.9
    assert metrics.pulse(clicks(8, 1.5), RATE) > 0.8
    assert metrics.pulse(noise, RATE) < 0.2
    random = np.random.default_rng(0).uniform(0.1, 1.9, size=60).cumsum()
    uneven = np.sum([clicks(12, 99, start=time) for time in random if time < 12], axis=0)
    assert metrics.pulse(uneven, RATE) < 0.5 < metrics.pulse(music, RATE)
    loop = np.tile(music[3 * RATE : 4 * RATE], 8)
    assert metrics.pulse(loop, RATE) > 0.7  # as docs/metrics.md warns


def test_the_pulse_is_the_unbiased_autocorrelation_of_librosas_envelope(music):
    envelope = librosa.onset.onset_strength(y=music, sr=RATE, hop_length=256).astype(float)
    envelope -= envelope.mean()
    count = len(envelope)
    means = [np.mean(envelope[: count - lag] * envelope[lag:]) for lag in range(int(2 * RATE / 256))]
    assert metrics.pulse(music, RATE) == pytest.approx(max(means[int(0.25 * RATE / 256) :]) / means[0], abs=1e-5)


@pytest.mark.parametrize("beat", [0.2, 0.5, 1.0])
def test_clicks_are_counted(beat):
    assert metrics.onset_rate(clicks(10, beat, start=0.1), RATE) == pytest.approx(1 / beat, rel=0.02)


@pytest.mark.parametrize("rate", [20.0, 31.25, 62.5, 125.0])
def test_onsets_are_those_that_librosa_picks(rate, rng):
    for size in (2, 3, 10, 500):
        for strengths in (rng.gamma(0.5, size=size), rng.integers(0, 4, size), np.ones(size)):
            theirs = librosa.onset.onset_detect(
                onset_envelope=strengths.astype("float32"), sr=rate * 256, hop_length=256
            )
            envelope = _pulse.Envelope(strengths.astype("float32"), 256, rate * 256, 256 * size)
            assert _pulse.onset_rate_of(envelope) == pytest.approx(len(theirs) * rate / size)


def test_no_function_that_librosa_compiles_is_called():
    """Two processes that compile them at once leave a cache with which each later call ends the process."""
    source = "".join(path.read_text("utf-8") for path in Path(metrics.__file__).parents[1].rglob("*.py"))
    compiled = r"librosa\.(beat|onset\.onset_detect|util\.(peak_pick|localm|match)|sequence|pyin|yin|zero_cross)"
    calls = [line for line in source.splitlines() if re.search(rf"{compiled}\w*\(", line)]
    assert not calls


def test_a_frozen_sound_has_no_flux(music, noise):
    t = np.arange(8 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330))
    assert metrics.flux(chord, RATE) < 0.5
    assert 1 < metrics.flux(noise, RATE) < metrics.flux(music, RATE)
    level = np.sqrt(np.mean(np.square(music)))
    block = np.tile(music[40_000:40_256], 500) * 1.0  # one hop repeated: each frame is the one before it
    assert metrics.flux(block * level / np.sqrt(np.mean(np.square(block))), RATE) < 0.2


def test_other_sample_rates_give_about_the_same(music):
    for rate in (8000, 22_050):
        resampled = librosa.resample(music, orig_sr=RATE, target_sr=rate, res_type="soxr_hq")
        assert metrics.pulse(resampled, rate) == pytest.approx(metrics.pulse(music, RATE), abs=0.1)
        assert metrics.flux(resampled, rate) == pytest.approx(metrics.flux(music, RATE), rel=0.4)
        patterns = (metrics.rhythm_pattern(sound, each, 0.5) for sound, each in ((music, RATE), (resampled, rate)))
        ours, theirs = (pattern.sum(axis=0, keepdims=True) for pattern in patterns)  # the bands are others
        assert metrics.rhythm_similarity(ours, theirs) > 0.9
    for rate in (500, 1000, 44_100):
        sound = np.random.default_rng(0).normal(size=5 * rate)
        assert 0 <= metrics.pulse(sound, rate) < 0.5
        assert metrics.flux(sound, rate) > 1
        assert np.isfinite(metrics.rhythm_pattern(sound, rate, 0.5)).all()


def test_a_pattern_shows_the_onsets_at_their_steps():
    pattern = metrics.rhythm_pattern(clicks(16, 0.5), RATE, beat_seconds=0.5).sum(axis=0)
    assert (
        pattern.reshape(4, 8).argmax(axis=1) % 7 == 0
    ).all()  # on the beat, or in the step before it: frames are centered
    assert pattern.min() >= 0
    turned = metrics.rhythm_pattern(clicks(16, 0.5), RATE, beat_seconds=0.5, start_seconds=0.25).sum(axis=0)
    assert metrics.rhythm_similarity(pattern[None], np.roll(turned, -4)[None], shift=0) > 0.95
    assert metrics.rhythm_similarity(pattern[None], turned[None], shift=0) < 0.2


def test_a_song_that_goes_on_has_the_rhythm_of_its_seed():
    accents = (1, 0, 0, 1, 0.3, 0, 1, 0)
    whole = clicks(24, 0.25, accents=accents)
    cut = round(7.4 * RATE)  # in the middle of a bar
    seed, song = whole[:cut], whole[cut:]
    own = metrics.rhythm_pattern(seed, RATE, 0.5)
    aligned = metrics.rhythm_pattern(song, RATE, 0.5, start_seconds=cut / RATE)
    astray = metrics.rhythm_pattern(song, RATE, 0.5)
    assert metrics.rhythm_similarity(aligned, own) > 0.95
    assert metrics.rhythm_similarity(astray, own) < 0.8
    assert metrics.rhythm_similarity(astray, own, shift=16) > 0.9
    other = metrics.rhythm_pattern(clicks(16, 0.25, accents=accents[::-1]), RATE, 0.5)
    assert metrics.rhythm_similarity(aligned, other) < metrics.rhythm_similarity(aligned, own) - 0.2
    low = np.sin(2 * np.pi * 60 * np.arange(8000) / RATE) * np.linspace(1, 0, 8000)
    drums = metrics.rhythm_pattern(np.tile(low, 16).astype("float32"), RATE, 0.5)
    assert drums.sum(axis=1).argmax() == 0  # the lowest band


def test_the_beat_is_found_if_it_is_not_given():
    rhythm = pytest.importorskip("gruvlike.rhythm")
    sound = clicks(12, 0.25, accents=(1, 0, 0, 1, 0.3, 0, 1, 0))
    beat = rhythm.tempo(sound, RATE).beat_seconds
    assert np.array_equal(metrics.rhythm_pattern(sound, RATE), metrics.rhythm_pattern(sound, RATE, beat))


def test_similarity_is_a_correlation(rng):
    one, two = rng.normal(size=(2, 4, 32))
    flat = [(each - each.mean(axis=1, keepdims=True)).ravel() for each in (one, two)]
    assert metrics.rhythm_similarity(one, two, shift=0) == pytest.approx(np.corrcoef(*flat)[0, 1])
    assert metrics.rhythm_similarity(one, 5 * np.roll(one, 2, axis=1) + 3, shift=2) == pytest.approx(1)
    assert metrics.rhythm_similarity(one, 5 * np.roll(one, 2, axis=1), shift=1) < 0.9
    assert metrics.rhythm_similarity(one, -one, shift=0) == pytest.approx(-1)
    assert metrics.rhythm_similarity(one, np.ones((4, 32))) == 0


def test_silence_and_pcm(music):
    silence = np.zeros(5 * RATE, "float32")
    assert metrics.pulse(silence, RATE) == metrics.onset_rate(silence, RATE) == metrics.flux(silence, RATE) == 0
    assert (metrics.rhythm_pattern(silence, RATE, 0.5) == 0).all()
    assert metrics.pulse(np.ones(5 * RATE), RATE) < 0.2
    pcm = np.round(music * 32767).astype(np.int16)
    assert metrics.pulse(pcm, RATE) == pytest.approx(metrics.pulse(music, RATE), abs=0.02)
    assert metrics.flux(pcm, RATE) == pytest.approx(metrics.flux(music, RATE), rel=0.02)


def test_the_gain_hardly_matters(music):
    for gain in (0.1, 3):
        assert metrics.pulse(gain * music, RATE) == pytest.approx(metrics.pulse(music, RATE), abs=0.02)
        assert metrics.onset_rate(gain * music, RATE) == pytest.approx(metrics.onset_rate(music, RATE), abs=0.2)


def test_errors_state_the_rule(noise):
    for call, match in (
        (lambda: metrics.pulse(noise[: 4 * RATE - 1], RATE), r"at least 4 s: .* needs 64000 samples\. Received: 63999"),
        (lambda: metrics.onset_rate(noise[:100], 101), "`sample_rate` must be an integer of at least 500"),
        (lambda: metrics.onset_rate(noise[:15_999], RATE), "at least 1 s"),
        (lambda: metrics.flux(noise[:1023], RATE), r"needs 1024 samples\. Received: 1023"),
        (lambda: metrics.flux(np.append(noise, np.nan), RATE), "1 NaN"),
        (lambda: metrics.pulse(np.append(noise, np.inf), RATE), "1 NaN or inf"),
        (lambda: metrics.pulse(np.stack([noise, noise]), RATE), "mono"),
        (lambda: metrics.rhythm_pattern(noise[:RATE], RATE, 0.5), r"needs 2 s\. Received: 1 s"),
        (lambda: metrics.rhythm_pattern(noise, RATE, 0.0), "`beat_seconds`"),
        (lambda: metrics.rhythm_pattern(noise, RATE, 0.5, start_seconds=np.nan), "`start_seconds`"),
        (lambda: metrics.rhythm_similarity(np.ones((4, 32)), np.ones((4, 16))), "of one shape"),
        (lambda: metrics.rhythm_similarity(np.ones(32), np.ones(32)), "of one shape"),
        (lambda: metrics.rhythm_similarity(np.full((4, 32), np.nan), np.ones((4, 32))), "finite"),
        (lambda: metrics.rhythm_similarity(np.ones((4, 32)), np.ones((4, 32)), shift=-1), "`shift`"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
