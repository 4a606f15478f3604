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


LOW_RATE = 8000


@pytest.fixture(scope="module")
def bars():
    """Bars of a tune with form, bars (N, S): its tempo is 120, so that a bar is 16000 samples."""
    return tune.compose(180, LOW_RATE).reshape(-1, 16_000)


def onsets(samples, rate):
    """Rises of the level, 100 numbers a second."""
    level = np.log((samples[: samples.size // rate * rate].reshape(-1, rate // 100) ** 2).mean(1) + 1e-4)
    return np.maximum(np.diff(level, prepend=level[0]), 0)


@pytest.mark.parametrize("random_seed", [1, 3])
def test_the_tempo_is_the_one_that_bpm_returns(random_seed):
    """A comb of beats fits the onsets of two minutes best at this tempo, to 0.1 a minute: it does not drift."""
    rises = onsets(tune.compose(120, 4000, random_seed), 4000)
    tempi = np.arange(90, 130, 0.1)
    beats = (np.round(np.arange(0, rises.size - 50, 6000 / tempo)).astype(int) for tempo in tempi)
    fits = [(rises[beat] + rises[beat + 1]).mean() for beat in beats]
    assert tempi[np.argmax(fits)] == pytest.approx(tune.bpm(random_seed), abs=0.11)


def test_tempi_differ():
    assert len({tune.bpm(random_seed) for random_seed in range(9)}) > 3


def test_a_long_tune_has_sections(bars):
    """Introduction, A, B, A, break, B: 4, 8, 8, 8, 4 and 8 bars."""
    assert tune.bpm() == 120
    low = np.array([level(bar, 30, 120, LOW_RATE) for bar in bars[:40]])
    silent = np.r_[0:4, 28:32]  # neither bass nor kick
    assert low[silent].max() < 0.02
    assert np.delete(low, silent).min() > 0.1
    power = (bars**2).mean(1)
    assert power[:4].max() < 0.3 * power[4:28].min()


def test_hats_of_b_are_twice_as_many(bars):
    """At the second sixteenth of a bar (sample 1000) a stroke begins in B alone."""
    high = (np.diff(bars, 4) ** 2).cumsum(1)
    rise = (high[:, 1040] - high[:, 1000]) / (high[:, 980] - high[:, 940])
    assert rise[12:20].min() > 10
    assert rise[4:12].max() < 2


def test_sections_come_back_and_go_on_otherwise(bars):
    def likeness(first, second):
        return np.vdot(bars[first], bars[second]) / np.linalg.norm(bars[first]) / np.linalg.norm(bars[second])

    a, b, again, b_higher = 4, 12, 20, 32
    assert likeness(slice(a + 1, a + 4), slice(again + 1, again + 4)) > 0.99
    assert likeness(slice(a + 4, a + 8), slice(again + 4, again + 8)) < 0.95
    assert likeness(slice(a, a + 4), slice(b, b + 4)) < 0.8
    assert likeness(slice(b, b + 4), slice(b_higher, b_higher + 4)) < 0.95


def test_a_minute_has_no_sections():
    """The control."""
    loop = tune.compose(60, 4000).reshape(-1, 8000)
    low = np.array([level(bar, 30, 120, 4000) for bar in loop])
    assert low.min() > 0.1


@pytest.mark.parametrize("bars", [36, 40, 41, 47, 48, 49, 83, 500, 1860])
def test_the_form_fills_any_length(bars):
    lengths = [section.bars for section in tune._form(bars)]
    assert sum(lengths) == bars
    assert lengths[0] == lengths[-1] == 4
    assert min(lengths) >= 4
    assert max(lengths) < 12  # else the melody would rest


def test_length_of_a_long_tune():
    samples = tune.compose(97.3, 4001, random_seed=1)
    assert samples.shape == (round(97.3 * 4001),)
    assert np.abs(samples).max() == pytest.approx(0.8, abs=1e-6)
    np.testing.assert_array_equal(tune.compose(97.3, 4001, random_seed=1), samples)


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"seconds": np.nan}, {"sample_rate": 0}, {"sample_rate": 16e3}, {"random_seed": -1}]
)
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be"):
        tune.compose(**bad)


def test_bad_random_seed_of_the_tempo():
    with pytest.raises(ValueError, match="`random_seed` must be"):
        tune.bpm(-1)
