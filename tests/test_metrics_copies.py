"""copy_score: a planted copy is found where it lies, unrelated music is not, whatever the gain."""

import librosa
import numpy as np
import pytest
from _parts import Piece, Pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from gruvlike import metrics, tune
from gruvlike.metrics._spectra import log_mel

RATE = 4000


@pytest.fixture(scope="module")
def tracks():
    return [tune.compose(20, RATE, random_seed=seed) for seed in range(3)]


@pytest.mark.parametrize("gain", [1, -0.01, 3])
def test_a_planted_copy_is_found_at_another_gain(tracks, gain):
    song = np.concatenate([tune.compose(3, RATE, random_seed=9), gain * tracks[1][31_234 : 31_234 + 2 * RATE]])
    found = metrics.copy_score(song, tracks, RATE)
    assert found.score == pytest.approx(1, abs=1e-5)
    assert len(found.matches) == 5
    assert [match.start for match in found.matches] == [0, 1, 2, 3, 4]
    for match, second in zip(found.matches[3:], (0, 1), strict=True):
        assert match.track == "1"
        assert match.seconds == pytest.approx(31_234 / RATE + second)
    assert max(match.score for match in found.matches[:3]) < 0.6
    assert found.closest in found.matches[3:]


def test_unrelated_sounds_score_low(tracks, rng):
    noise = rng.normal(size=3 * RATE)
    tone = np.sin(2 * np.pi * 441 * np.arange(3 * RATE) / RATE)
    music = np.concatenate(tracks)
    assert metrics.copy_score(noise, music, RATE).score < 0.15
    assert metrics.copy_score(tone, rng.normal(size=40_000), RATE).score < 0.2


def test_a_shared_bass_is_no_copy_but_a_muffled_copy_is(rng):
    import scipy.signal

    t = np.arange(20 * 16_000) / 16_000
    bass = np.sin(2 * np.pi * 55 * t)
    theirs, ours = bass + 0.2 * rng.normal(size=len(t)), bass + 0.2 * rng.normal(size=len(t))
    song = ours[:32_000]
    assert metrics.copy_score(song, theirs, 16_000).score < 0.2
    assert metrics.copy_score(song, theirs, 16_000, high_pass=False).score > 0.9
    music = tune.compose(10, 16_000, random_seed=1)
    muffled = scipy.signal.sosfiltfilt(scipy.signal.butter(4, 1500, fs=16_000, output="sos"), music)[48_000:80_000]
    assert metrics.copy_score(muffled, music, 16_000).score > 0.8


def test_the_score_is_the_normalised_cross_correlation(rng):
    song, music = rng.normal(size=300), rng.normal(size=1500)
    windows = np.lib.stride_tricks.sliding_window_view(music, 100)
    expected = [
        np.abs(windows @ song[start : start + 100])
        / np.linalg.norm(windows, axis=1)
        / np.linalg.norm(song[start : start + 100])
        for start in (0, 100, 200)
    ]
    found = metrics.copy_score(song, music, 100, high_pass=False)
    assert [match.score for match in found.matches] == pytest.approx([scores.max() for scores in expected], abs=1e-5)
    assert [match.seconds for match in found.matches] == [scores.argmax() / 100 for scores in expected]


def test_a_copy_is_found_wherever_the_pieces_are_cut():
    music = np.random.default_rng(0).normal(size=20_000).astype("float32")
    for start in [*range(0, 2000, 333), *range(2890, 3110, 7), 18_990, 19_000]:
        found = metrics.copy_score(music[start : start + 1000], music, 1000)
        assert found.score == pytest.approx(1, abs=1e-5), start
        assert found.closest.seconds == start / 1000


def test_an_odd_end_is_judged_too(tracks):
    song = np.concatenate([np.zeros(RATE + 100, "float32"), tracks[0][5000 : 5000 + RATE]])
    found = metrics.copy_score(song, tracks, RATE)
    assert found.matches[-1].start == pytest.approx(1 + 100 / RATE)
    assert found.matches[-1].score == pytest.approx(1, abs=1e-5)


def test_corpora_arrays_and_named_tracks_give_the_same(tracks):
    song = tracks[2][4000:12_000]
    pcm = [np.round(track * 32767).astype(np.int16) for track in tracks]
    named = [(f"track {index}", samples) for index, samples in enumerate(pcm)]

    corpus = Pieces(Piece(name, samples, RATE) for name, samples in named)
    corpus.sample_rate = RATE
    found = metrics.copy_score(song, corpus)
    assert found == metrics.copy_score(song, named, RATE)
    assert found.closest.track == "track 2"
    assert found.score == pytest.approx(metrics.copy_score(song, pcm, RATE).score)
    assert metrics.copy_score(song, (samples for samples in pcm), RATE).score == found.score
    with pytest.raises(ValueError, match=f"sample_rate=8000, the corpus has {RATE}"):
        metrics.copy_score(song, corpus, 8000)


def test_silence_is_no_copy(tracks):
    silence = np.zeros(2 * RATE, "float32")
    found = metrics.copy_score(silence, [*tracks, silence], RATE)
    assert found.score == 0
    assert found.closest.track is None
    assert metrics.copy_score(tracks[0], silence, RATE).score == 0
    half = np.concatenate([silence, tracks[0][: 2 * RATE], silence])
    assert metrics.copy_score(half, [silence, half], RATE).score == pytest.approx(1, abs=1e-5)


def test_a_constant_offset_is_no_copy(rng):
    assert (
        metrics.copy_score(0.5 + 0.001 * rng.normal(size=3000), 0.5 + 0.001 * rng.normal(size=9000), 1000).score < 0.3
    )


def test_a_track_shorter_than_a_second_can_be_copied(rng):
    drum = rng.normal(size=700).astype("float32")
    song = np.concatenate([drum, np.zeros(300, "float32")])
    assert metrics.copy_score(song, [drum], 1000).score > 0.95


def test_a_quiet_copy_beside_a_loud_passage_is_found(rng):
    music = rng.normal(size=30_000)
    music[15_000:] *= 1e-3
    found = metrics.copy_score(music[15_500:16_500], music, 1000)
    assert found.score == pytest.approx(1, abs=1e-4)
    assert found.closest.seconds == 15.5


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(1e-3, 10), random_seed=st.integers(0, 99))
def test_gain_does_not_matter(gain, random_seed):
    rng = np.random.default_rng(random_seed)
    song, music = rng.normal(size=2500).astype("float32"), rng.normal(size=5000).astype("float32")
    score = metrics.copy_score(song, music, 1000).score
    assert 0 < score < 0.3
    assert metrics.copy_score(np.float32(gain) * song, music, 1000).score == pytest.approx(score, abs=1e-4)
    assert metrics.copy_score(song, np.float32(gain) * music, 1000).score == pytest.approx(score, abs=1e-4)


def test_errors_state_the_rule(rng):
    noise = rng.normal(size=3000)
    with pytest.raises(ValueError, match=r"sample_rate=4000 needs 4000 samples\. Received: 3000"):
        metrics.copy_score(noise, noise, 4000)
    with pytest.raises(ValueError, match="`sample_rate` must be given"):
        metrics.copy_score(noise, noise)
    with pytest.raises(ValueError, match="1 NaN"):
        metrics.copy_score(np.append(noise, np.nan), noise, 1000)
    with pytest.raises(ValueError, match="1 NaN"):
        metrics.copy_score(noise, np.append(noise, np.nan), 1000)
    with pytest.raises(ValueError, match=r"track must be mono.*shape=\(3, 4\)"):
        metrics.copy_score(noise, [np.zeros((3, 4))], 1000)
    with pytest.raises(ValueError, match="at least one track"):
        metrics.copy_score(noise, [], 1000)


# --- on the spectrum --------------------------------------------------------------------------------------------------


def other_phases(samples, rate):
    """The sound with nearly the same magnitudes, and phases that were rebuilt from nothing."""
    size = rate // 64 * 4
    magnitudes = np.abs(librosa.stft(samples, n_fft=size))
    return librosa.griffinlim(magnitudes, n_iter=16, n_fft=size, length=len(samples), random_state=0)


def test_other_phases_hide_a_copy_from_the_waveform_but_not_from_the_spectrum(tracks):
    copied = tracks[1][31_234 : 31_234 + 3 * RATE]
    song = np.concatenate([tune.compose(3, RATE, random_seed=9), -0.1 * other_phases(copied, RATE)])
    found = metrics.copy_score(song, tracks, RATE, on="spectrum")
    assert all(match.score > 0.85 for match in found.matches[3:])
    assert max(match.score for match in found.matches[:3]) < 0.7
    assert found.closest.track == "1"
    for match, second in zip(found.matches[3:], range(3), strict=True):
        assert match.seconds == pytest.approx(31_234 / RATE + second, abs=0.016)
    assert max(match.score for match in metrics.copy_score(song, tracks, RATE).matches[3:]) < 0.8


def test_a_copy_of_the_seed_is_found_in_the_spectrum(tracks):
    seed = tracks[0][: 8 * RATE]
    looped = other_phases(np.tile(seed[-2 * RATE :], 2), RATE)
    assert metrics.copy_score(looped, seed, RATE, on="spectrum").score > 0.9
    assert metrics.copy_score(tracks[2][: 4 * RATE], seed, RATE, on="spectrum").score < 0.7


def test_the_spectral_score_is_a_correlation(rng):
    song, music = rng.normal(size=1000), rng.normal(size=40_000)
    levels = [log_mel(x.astype("float32"), 1000) for x in (song, music)]
    assert all((x.max(axis=1) - x.min(axis=1)).max() < 40 for x in levels), "nothing is out of range"
    ours, theirs = (x.astype(float) - x.mean(axis=1, keepdims=True) for x in levels)
    ours = (ours - ours.mean(axis=0)).ravel()
    length = len(levels[0])
    expected = []
    for start in range(len(theirs) - length + 1):
        window = theirs[start : start + length]
        window = (window - window.mean(axis=0)).ravel()
        expected.append(window @ ours / np.linalg.norm(window) / np.linalg.norm(ours))
    found = metrics.copy_score(song, music, 1000, on="spectrum")
    assert found.score == pytest.approx(max(expected), abs=1e-5)
    assert found.closest.seconds == pytest.approx(np.argmax(expected) * 0.016)


def test_a_spectral_copy_is_found_wherever_the_pieces_are_cut():
    music = np.random.default_rng(0).normal(size=40_000).astype("float32")
    for start in [*range(0, 32_000, 3200), *range(16_352, 16_420, 16), 38_992]:
        found = metrics.copy_score(music[start : start + 1000], music, 1000, on="spectrum")
        assert found.score == pytest.approx(1, abs=1e-4), start
        assert found.closest.seconds == start / 1000


@pytest.mark.parametrize("gain", [0.001, 3])
def test_gain_and_pcm_do_not_matter_to_the_spectrum(tracks, gain):
    song = tracks[2][4000:12_000]
    plain = metrics.copy_score(song, tracks[0], RATE, on="spectrum").score
    assert metrics.copy_score(gain * song, tracks[0], RATE, on="spectrum").score == pytest.approx(plain, abs=1e-4)
    pcm = np.round(tracks[0] * 32767).astype(np.int16)
    assert metrics.copy_score(song, pcm, RATE, on="spectrum").score == pytest.approx(plain, abs=0.02)


def test_silence_and_held_tones_have_no_spectral_copy(tracks):
    silence = np.zeros(2 * RATE, "float32")
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    for song, music in ((silence, [*tracks, silence]), (tracks[0], silence), (tone, tone)):
        found = metrics.copy_score(song, music, RATE, on="spectrum")
        assert found.score == 0
        assert found.closest.track is None
    drum = tracks[0][: RATE // 2]
    short = metrics.copy_score(np.concatenate([drum, silence[: RATE // 2]]), [drum], RATE, on="spectrum")
    assert short.score > 0.95


def test_errors_of_the_spectrum(rng):
    noise = rng.normal(size=3000)
    with pytest.raises(ValueError, match="`on` must be one of 'waveform', 'spectrum'"):
        metrics.copy_score(noise, noise, 1000, on="spectra")
    with pytest.raises(ValueError, match="`sample_rate` must be an integer of at least 500"):
        metrics.copy_score(noise, noise, 400, on="spectrum")
    with pytest.raises(ValueError, match="1 NaN"):
        metrics.copy_score(noise, np.append(noise, np.nan), 1000, on="spectrum")
