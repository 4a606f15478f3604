"""The tick measures: nothing in music, planted ticks in step with their strength, no ear for drums."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gruvlike import metrics, tune

HOPS = (64, 100, 256, 500, 1024, 2000, 4000, 8000, 11_025)
# Where Debian's packages singularity-music, noiz2sa-data and warzone2100-music put their tracks.
MUSIC = tuple(
    Path("/usr/share/games", place)
    for place in ("singularity/music", "noiz2sa/sounds", "warzone2100/music/albums/legacy_soundtrack")
)


@pytest.fixture(scope="module")
def music():
    """Forty seconds at 16 kHz with drums and, in the middle, a passage that is 40 dB quieter."""
    samples = tune.compose(40, 16_000, random_seed=3)
    gain = np.ones(len(samples), "float32")
    gain[200_000:400_000] = 0.01
    return samples * gain


def steps(samples, hop, strength, random_seed=0):
    """Adds another constant to each block: the error of a regression that knows nothing of its neighbor."""
    offsets = np.random.default_rng(random_seed).normal(size=len(samples) // hop + 1)
    level = np.sqrt(np.mean(np.square(samples)))
    return samples + strength * level * np.repeat(offsets, hop)[: len(samples)].astype("float32")


def clicks(samples, hop, strength):
    ticking = samples.copy()
    ticking[hop::hop] += strength * np.sqrt(np.mean(np.square(samples)))
    return ticking


def drums(hop, beats, rng, jitter=0):
    """Noise bursts that begin at multiples of the hop and die away over 60 ms, over a quiet pad."""
    t = np.arange(beats * hop)
    sound = 0.02 * np.sin(t / 9) + 0.001 * rng.normal(size=len(t))
    for beat in range(beats):
        start = beat * hop + (rng.integers(-jitter, jitter + 1) if jitter else 0)
        burst = np.minimum(np.arange(1000) / 30, 1) * np.exp(-np.arange(1000) / 300) * rng.normal(size=1000)
        start = int(np.clip(start, 0, len(t) - 1000))
        sound[start : start + 1000] += 0.3 * burst
    return sound


@pytest.mark.parametrize("hop", HOPS)
def test_a_tune_does_not_tick(music, hop):
    seams = len(music) // hop
    assert abs(metrics.tick_level_db(music, hop)) < 0.7 + 6 / np.sqrt(seams)
    if hop <= 2000:  # with fewer seams, chance alone moves a median of so uneven music
        assert 0.9 < metrics.tick_ratio(music, hop) < 1.1


@pytest.mark.parametrize("folder", MUSIC, ids=lambda folder: folder.parts[4])
def test_real_music_does_not_tick(folder):
    import soundfile
    import soxr

    if not folder.is_dir():
        pytest.skip("this music is not installed")
    path = max((p for p in folder.iterdir() if p.suffix in (".ogg", ".opus")), key=lambda p: p.stat().st_size)
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        samples = file.read(50 * rate, dtype="float32", always_2d=True)[10 * rate :].mean(axis=1)
    samples = soxr.resample(samples, rate, 16_000)
    for hop in HOPS:
        seams = len(samples) // hop
        assert abs(metrics.tick_level_db(samples, hop)) < 1 + 8 / np.sqrt(seams), hop
        if hop <= 1024:
            assert 0.8 < metrics.tick_ratio(samples, hop) < 1.25, hop


@pytest.mark.parametrize("plant", [steps, clicks])
@pytest.mark.parametrize("hop", [100, 2000, 8000])
def test_planted_ticks_are_found_and_stronger_ones_read_higher(music, plant, hop):
    strengths = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    levels = [metrics.tick_level_db(plant(music, hop, strength), hop) for strength in (0, *strengths)]
    ratios = [metrics.tick_ratio(plant(music, hop, strength), hop) for strength in (0, *strengths)]
    assert all(a < b for a, b in pairwise(levels)), levels
    assert all(a < b for a, b in pairwise(ratios[3:])), ratios
    assert levels[3] > 2  # a tick of 3 % of the level
    assert levels[-1] > 20
    assert ratios[-1] > 5


def test_ticks_of_quiet_passages_are_heard(music):
    quiet, hop = slice(200_000, 400_000), 1000
    ticking = music.copy()
    ticking[quiet] = steps(music[quiet], hop, 0.3)  # 50 dB below the song, on fewer than a third of the seams
    assert metrics.tick_level_db(ticking, hop) > metrics.tick_level_db(music, hop) + 2
    assert abs(metrics.tick_ratio(ticking, hop) - metrics.tick_ratio(music, hop)) < 0.1  # what this one misses


def test_the_level_catches_ticks_that_the_ratio_misses():
    t = np.arange(160_000)
    loud_bass = 0.5 * np.sin(t / 30) + 0.001 * np.random.default_rng(0).normal(size=len(t))
    ticking = clicks(loud_bass, 1000, 0.03)
    assert metrics.tick_ratio(ticking, 1000) < 1.5
    assert metrics.tick_level_db(ticking, 1000) > 10


@pytest.mark.parametrize("jitter", [0, 300])
def test_drums_in_step_with_the_hop_are_no_ticks(rng, jitter):
    sound = drums(4000, 60, rng, jitter)
    assert abs(metrics.tick_level_db(sound, 4000)) < 1.5
    assert abs(metrics.tick_level_db(sound, 3000)) < 1.5
    assert metrics.tick_level_db(steps(sound, 1000, 0.3), 1000) > 5


def test_a_click_track_in_step_is_told_by_the_excess(music):
    song, reference = clicks(music[:200_000], 2000, 0.3), clicks(music[400_000:], 2000, 0.3)
    assert metrics.tick_level_db(song, 2000) > 10
    assert abs(metrics.tick_excess_db(song, reference, 2000)) < 4
    assert metrics.tick_excess_db(song, music, 2000) > 10


def test_start_says_where_the_seams_lie(music):
    ticking = np.concatenate([music[:777], steps(music[777:], 1000, 0.3)])
    assert metrics.tick_level_db(ticking, 1000, start=777) > 10
    assert metrics.tick_level_db(ticking, 1000) < 2
    assert metrics.tick_ratio(ticking, 1000, start=2777) == metrics.tick_ratio(ticking, 1000, start=777) > 2
    assert metrics.tick_profile(ticking, 1000).argmax() in (776, 777, 778)


def test_resampled_ticks_are_still_found(music):
    import soxr

    ticking = soxr.resample(soxr.resample(clicks(music, 2000, 0.3), 16_000, 22_050), 22_050, 16_000)
    assert metrics.tick_level_db(ticking, 2000) > 10


def test_the_ratio_is_what_it_says(rng):
    samples = rng.normal(size=5000).astype("float32").astype(float)
    jumps = np.abs(np.diff(samples))
    seams = np.arange(1, 5000) % 50 == 0
    assert metrics.tick_ratio(samples, 50) == pytest.approx(np.median(jumps[seams]) / np.median(jumps[~seams]))


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(1e-3, 10), hop=st.integers(16, 400), strength=st.floats(0, 3), random_seed=st.integers(0, 99))
def test_gain_does_not_matter(gain, hop, strength, random_seed):
    samples = steps(np.random.default_rng(random_seed).normal(size=4000).astype("float32"), hop, strength)
    for measure in (metrics.tick_ratio, metrics.tick_level_db):
        assert measure(np.float32(gain) * samples, hop) == pytest.approx(measure(samples, hop), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(4000, "float32"), np.full(4000, 0.5), np.linspace(-1, 1, 4000)])
def test_silence_and_straight_lines_read_no_tick(samples):
    assert metrics.tick_ratio(samples, 100) == pytest.approx(1, abs=0.01)
    assert abs(metrics.tick_level_db(samples, 100)) < 2
    assert np.isfinite(metrics.tick_profile(samples, 100)).all()


def test_where_nothing_moves_but_the_seams_the_figures_are_high_and_finite():
    blocks = np.repeat(np.random.default_rng(0).normal(size=40), 100)
    assert 100 < metrics.tick_ratio(blocks, 100) <= 1e6
    assert 30 < metrics.tick_level_db(blocks, 100) < 100


@pytest.mark.parametrize("measure", [metrics.tick_ratio, metrics.tick_level_db, metrics.tick_profile])
def test_errors_state_the_rule(measure):
    noise = np.random.default_rng(0).normal(size=4000)
    for hop in (1, 0, -3, 2.5, True):
        with pytest.raises(ValueError, match="`hop` must be an integer of at least"):
            measure(noise, hop)
    with pytest.raises(ValueError, match=r"hop=1001 needs 4004 samples\. Received: 4000"):
        measure(noise, 1001)
    with pytest.raises(ValueError, match="mono"):
        measure(np.zeros((2, 4000)), 100)
    with pytest.raises(ValueError, match="1 NaN"):
        measure(np.where(np.arange(4000) == 7, np.nan, noise), 100)
    with pytest.raises(ValueError, match="`start`"):
        measure(noise, 100, start=-1)
