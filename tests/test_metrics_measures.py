"""Energy, spectra, loops and the Fréchet distance: known values, references, controls, silence, errors."""

import functools

import librosa
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gruvlike import metrics, tune

RATE = 8000


@pytest.fixture(scope="module")
def music():
    return tune.compose(24, RATE, random_seed=5)


def test_energy_curve_reads_the_rms_of_each_block(rng):
    samples = rng.normal(size=1050).astype("float32")
    expected = 20 * np.log10([np.sqrt(np.mean(samples[k : k + 100].astype(float) ** 2)) for k in range(0, 1000, 100)])
    assert metrics.energy_curve(samples, 100) == pytest.approx(expected, abs=1e-6)
    sine = np.sin(2 * np.pi * np.arange(8000) / 80)
    assert metrics.energy_curve(sine, 800) == pytest.approx([-3.0103] * 10, abs=1e-3)
    assert (metrics.energy_curve(np.zeros(500), 100) == -120).all()


def test_energy_drift_follows_the_end_of_the_song(music):
    drifts = [
        metrics.energy_drift_db(music * np.geomspace(1, factor, len(music)), music)
        for factor in (0.01, 0.1, 1, 10, 100)
    ]
    assert drifts == sorted(drifts)
    assert drifts[0] < -25
    assert drifts[-1] > 25
    noise = np.random.default_rng(0).normal(size=8000)
    assert abs(metrics.energy_drift_db(noise, noise)) < 0.5
    assert metrics.energy_drift_db(0.1 * noise, noise, part=1) == pytest.approx(-20, abs=1e-3)
    silence = np.zeros(1000)
    assert metrics.energy_drift_db(silence, silence) == 0
    assert metrics.energy_drift_db(silence, np.ones(1000)) == -120


def test_spectral_convergence_agrees_with_librosa(music, rng):
    other = music + 0.05 * rng.normal(size=len(music)).astype("float32")
    ours, theirs = (np.abs(librosa.stft(x, n_fft=1024, hop_length=256, center=False)) for x in (other, music))
    expected = np.linalg.norm(theirs - ours) / np.linalg.norm(theirs)
    assert metrics.spectral_convergence(other, music) == pytest.approx(expected, rel=1e-3)
    ours, theirs = ours.mean(axis=1), theirs.mean(axis=1)
    expected = np.linalg.norm(theirs - ours) / np.linalg.norm(theirs)
    assert metrics.spectral_convergence(other, music, aligned=False) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("measure", [metrics.spectral_convergence, metrics.log_spectral_distance])
@pytest.mark.parametrize("aligned", [True, False])
def test_spectral_distances_rise_with_the_noise(music, rng, measure, aligned):
    noise = rng.normal(size=len(music)).astype("float32")
    readings = [measure(music + level * noise, music, aligned) for level in (0, 0.001, 0.01, 0.1, 1)]
    assert readings[0] == 0
    assert readings == sorted(readings)
    assert readings[-1] > 2 * readings[-2] or measure is metrics.log_spectral_distance


def test_unaligned_distances_do_not_mind_the_order(music):
    turned = np.concatenate([music[80_000:], music[:80_000]])
    assert metrics.log_spectral_distance(turned, music, aligned=False) < 1
    assert metrics.log_spectral_distance(turned, music) > 10
    assert metrics.spectral_convergence(turned[:100_000], music, aligned=False) < 0.3


def test_spectral_distances_of_silence_are_defined(music):
    silence = np.zeros_like(music)
    for aligned in (True, False):
        assert metrics.spectral_convergence(silence, music, aligned) == 1
        assert metrics.spectral_convergence(music, silence, aligned) == 1
        assert metrics.spectral_convergence(silence, silence, aligned) == 0
        assert metrics.log_spectral_distance(silence, silence, aligned) == 0
        assert 0 < metrics.log_spectral_distance(silence, music, aligned) <= 80


def test_flatness_agrees_with_librosa_and_orders_sounds(music, rng):
    noise = rng.normal(size=40_000).astype("float32")
    expected = librosa.feature.spectral_flatness(y=noise, n_fft=1024, hop_length=256, center=False).mean()
    assert metrics.spectral_flatness(noise) == pytest.approx(expected, rel=1e-3)
    sine, click = np.sin(np.arange(8000) / 3), np.eye(1, 4096, 2000)[0]
    assert metrics.spectral_flatness(sine) < 0.01 < metrics.spectral_flatness(noise)
    assert metrics.spectral_flatness(click) > 0.99
    assert metrics.spectral_flatness(np.zeros(4096)) == 0
    padded = np.concatenate([music, np.zeros(len(music), "float32")])
    assert metrics.spectral_flatness(padded) == pytest.approx(metrics.spectral_flatness(music), rel=0.02)
    assert metrics.flatness_excess_db(noise, music) > 3 > metrics.flatness_excess_db(music, music) == 0
    assert metrics.flatness_excess_db(np.zeros(4096), noise) < -100


def test_a_loop_repeats_music_does_less_and_noise_does_not(music, rng):
    bar = music[40_000:47_001]  # no multiple of a frame or hop
    loop = np.tile(bar, 20)
    assert metrics.repetition(loop, RATE) > 0.9
    assert 0.2 < metrics.repetition(music, RATE) < 0.85
    assert metrics.repetition(rng.normal(size=len(music)), RATE) < 0.2
    noisy = loop + 0.03 * bar.std() * rng.normal(size=len(loop)).astype("float32")
    assert metrics.repetition(music, RATE) < metrics.repetition(noisy, RATE)


@pytest.mark.parametrize("seconds", [0.05, 0.31, 1.0, 2.7, 5.9])
def test_loops_of_all_lengths_are_found(music, seconds):
    length = round(seconds * RATE)
    assert (
        metrics.repetition(np.tile(music[40_000 : 40_000 + length], 24 * RATE // length + 1)[: 24 * RATE], RATE) > 0.9
    )


def test_novelty_says_when_the_loop_begins(music):
    stuck = np.concatenate([music[: 8 * RATE], np.tile(music[8 * RATE : 10 * RATE], 4)])
    curve = metrics.novelty(stuck, RATE)
    assert curve.shape == (16,)
    assert curve[0] == 1
    assert curve[10:].max() < 0.1 < 0.2 < curve[1:10].min()
    assert ((curve >= 0) & (curve <= 1)).all()


@pytest.mark.parametrize("frozen", [np.zeros(40_000), 0.3 * np.sin(np.arange(40_000) / 4)])
def test_a_frozen_sound_is_stuck(frozen):
    assert metrics.repetition(frozen, RATE) > 0.9


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(1e-3, 10), random_seed=st.integers(0, 99))
def test_repetition_does_not_depend_on_the_gain(gain, random_seed):
    samples = tune.compose(5, 4000, random_seed=random_seed)
    assert metrics.repetition(np.float32(gain) * samples, 4000) == pytest.approx(
        metrics.repetition(samples, 4000), abs=2e-3
    )


def gaussians(samples):
    return samples.reshape(-1, 4)


def test_frechet_distance_of_normal_distributions_is_the_formula(rng):
    spread = np.array([[2, 0, 0, 0], [1, 1, 0, 0], [0, 0.5, 3, 0], [0, 0, 0, 0.1]])
    one, two = rng.normal(size=(5000, 4)), 1 + rng.normal(size=(5000, 4)) @ spread
    c1, c2 = np.cov(one.T), np.cov(two.T)
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    sides = one.ravel(), two.ravel()
    assert metrics.frechet_distance(gaussians, *sides) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet_distance(gaussians, *sides[::-1]) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet_distance(gaussians, sides[0], sides[0]) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_survives_too_few_and_constant_vectors(rng):
    few = rng.normal(size=(2, 4)).ravel()
    assert 0 <= metrics.frechet_distance(gaussians, few, rng.normal(size=(3, 4)).ravel()) < 100
    assert metrics.frechet_distance(gaussians, np.zeros(8), np.ones(8)) == pytest.approx(4)


def test_frechet_distance_tells_music_from_the_controls(music, rng):
    embed = functools.partial(metrics.log_mel_statistics, sample_rate=RATE)
    half = len(music) // 2
    level = np.sqrt(np.mean(np.square(music)))
    noise = level * rng.normal(size=half)
    sine = level * np.sin(2 * np.pi * 440 * np.arange(half) / RATE)
    same = metrics.frechet_distance(embed, music[:half], music[half:])
    other = metrics.frechet_distance(embed, music[:half], tune.compose(12, RATE, random_seed=8))
    assert same < other < min(metrics.frechet_distance(embed, music[:half], sound) for sound in (noise, sine))
    pieces = [music[:50_000], music[50_000:half]]
    assert metrics.frechet_distance(embed, pieces, music[half:]) == pytest.approx(same, rel=0.5)


def test_log_mel_statistics_are_one_vector_a_second(music):
    vectors = metrics.log_mel_statistics(music[: 3 * RATE + 100], RATE)
    assert vectors.shape == (3, 80)
    assert np.array_equal(vectors[:1], metrics.log_mel_statistics(music[:RATE], RATE))
    louder = metrics.log_mel_statistics(0.1 * music[:RATE], RATE)[0]
    heard = vectors[0, :40] > -50
    assert vectors[0, :40][heard] - louder[:40][heard] == pytest.approx(20, abs=1)
    assert (metrics.log_mel_statistics(np.zeros(RATE), RATE)[0] == [-80] * 40 + [0] * 40).all()
    for rate in (500, 1000, 11_025, 44_100):
        assert np.isfinite(metrics.log_mel_statistics(np.random.default_rng(0).normal(size=rate), rate)).all()


def test_errors_state_the_rule(rng):
    noise = rng.normal(size=1000)
    for measure, match in (
        (lambda: metrics.energy_curve(noise, 1001), "takes hop=1001 samples"),
        (lambda: metrics.energy_drift_db(noise, noise, part=0), "`part`"),
        (lambda: metrics.spectral_flatness(noise), "takes frame_size=1024 samples. Received: 1000"),
        (lambda: metrics.spectral_convergence(noise, noise[1:]), "same length"),
        (lambda: metrics.log_spectral_distance(noise, noise[1:]), "same length"),
        (lambda: metrics.novelty(noise, 501), "sample_rate=501 needs 1002 samples. Received: 1000"),
        (lambda: metrics.repetition(noise, 400), "`sample_rate` must be an integer of at least 500"),
        (lambda: metrics.log_mel_statistics(noise, 1001), "takes one second"),
        (lambda: metrics.frechet_distance(gaussians, noise[:4], noise), "two or more for each side.*`real`"),
        (lambda: metrics.frechet_distance(gaussians, noise, [noise[:4]]), "two or more for each side.*`generated`"),
        (lambda: metrics.frechet_distance(gaussians, noise, []), "at least one track"),
        (lambda: metrics.frechet_distance(lambda x: x.reshape(len(x) // 100, -1), noise, [noise[:200]] * 2), None),
        (lambda: metrics.energy_curve(np.stack([noise, noise]), 10), "mono"),
        (lambda: metrics.repetition(np.append(noise, np.nan), 500), "1 NaN"),
    ):
        if match is None:
            assert measure() >= 0
            continue
        with pytest.raises(ValueError, match=match):
            measure()
