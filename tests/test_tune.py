import numpy as np
import pytest

from gruvlike import tune

RATE = 16_000


@pytest.fixture(scope="module")
def piece():
    return tune.compose(20, RATE)


def level(samples, low, high, rate=RATE):
    """Share of the energy between two frequencies."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(samples.size, 1 / rate)
    return power[(hz >= low) & (hz < high)].sum() / power.sum()


def test_same_random_seed_same_tune_and_another_differs(piece):
    np.testing.assert_array_equal(tune.compose(20, RATE), piece)
    others = [tune.compose(20, RATE, random_seed=k) for k in range(1, 5)]
    assert all(np.abs(other - piece).max() > 0.1 for other in others)


@pytest.mark.parametrize(("seconds", "rate"), [(0.1, 4000), (1.234567, 8000), (3, 44_100), (9.99, 11_025)])
def test_length_peak_and_dtype(seconds, rate):
    samples = tune.compose(seconds, rate, random_seed=3)
    assert samples.shape == (round(seconds * rate),)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(0.8, abs=1e-6)


def test_has_bass_chords_and_hats(piece):
    assert level(piece, 30, 160) > 0.1
    assert level(piece, 160, 1000) > 0.1
    assert level(piece, 5000, 8000) > 1e-4
    assert abs(piece.mean()) < 1e-3


def test_drums_make_a_beat(piece):
    """The onsets repeat: the novelty curve correlates with itself at some beat between 96 and 124 a minute."""
    energy = (piece[: 19 * RATE].reshape(-1, 160) ** 2).sum(1)
    onsets = np.maximum(np.diff(np.log(energy + 1e-3)), 0)
    onsets -= onsets.mean()
    by_lag = np.correlate(onsets, onsets, "full")[onsets.size - 1 :] / (onsets @ onsets)
    assert by_lag[48:64].max() > 0.25  # 0.48 to 0.63 s
    shuffled = np.random.default_rng(0).permutation(onsets)
    assert (np.correlate(shuffled, shuffled, "full")[onsets.size - 1 :] / (onsets @ onsets))[48:64].max() < 0.2


def test_the_end_fades(piece):
    assert np.abs(piece[-160:]).max() < 0.02
    assert np.sqrt(np.mean(piece[-4 * RATE : -2 * RATE] ** 2)) > 0.05


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"seconds": np.nan}, {"sample_rate": 0}, {"sample_rate": 16e3}, {"random_seed": -1}]
)
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be"):
        tune.compose(**bad)
