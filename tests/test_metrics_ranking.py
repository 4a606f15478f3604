"""Takes are ranked by how close they stay to their seed: each way to drift costs a song its place."""

import numpy as np
import pytest

from gruvlike import metrics, tune

RATE = 8000
BEAT = 0.5


@pytest.fixture(scope="module")
def piece():
    return tune.compose(24, RATE, random_seed=2)


@pytest.fixture(scope="module")
def seed(piece):
    return piece[: 8 * RATE]


@pytest.fixture(scope="module")
def song(piece):
    return piece[8 * RATE :]


def faults(song):
    """Songs that drift, each in its own way, by the measure that must see it."""
    late = np.arange(len(song)) > 2 * len(song) // 3
    rng = np.random.default_rng(0)
    shuffled = song.reshape(-1, RATE // 16)[rng.permutation(len(song) * 16 // RATE)].reshape(-1)
    held = np.tile(song[4000:4200], len(song) // 200 + 1)[: len(song)]
    yield "rhythm", shuffled
    yield "spectrum_db_last", np.where(late, np.convolve(song, np.ones(8) / 8, "same"), song)
    yield "deviation_db", held
    yield "level_db_last", np.where(late, song / 8, song)
    yield "flux_db_last", np.where(late, held, song)


def test_a_song_that_drifts_comes_after_one_that_does_not(song, seed):
    for name, fault in faults(song):
        for songs, places in (([song, fault], [0, 1]), ([fault, song], [1, 0])):
            ranked = metrics.rank_takes(songs, seed, RATE, BEAT)
            assert [take.number for take in ranked] == places, name
        plain, drifting = metrics.rank_takes([song, fault], seed, RATE, BEAT)
        assert drifting.measures[name] > 2 * plain.measures[name] + 0.05, name


def test_the_seed_itself_is_at_no_distance_as_a_whole(seed):
    (take,) = metrics.rank_takes([seed], seed, RATE, BEAT)
    whole = [value for name, value in take.measures.items() if not name.endswith("_last")]
    np.testing.assert_allclose(whole, 0, atol=1e-9)


def test_the_distance_is_the_mean_of_ten_quotients(song, seed):
    (take,) = metrics.rank_takes([song], seed, RATE, BEAT)
    tolerances = {"rhythm": 0.1, "spectrum_db": 2.0, "deviation_db": 1.0, "level_db": 2.0, "flux_db": 0.2}
    quotients = [take.measures[f"{name}{part}"] / size for name, size in tolerances.items() for part in ("", "_last")]
    assert len(take.measures) == 10
    assert take.distance == pytest.approx(np.mean(quotients))


def test_a_distance_does_not_depend_on_the_other_songs(song, seed):
    alone = metrics.rank_takes([song], seed, RATE, BEAT)[0]
    beside = metrics.rank_takes([song[::-1].copy(), song], seed, RATE, BEAT)
    assert next(take for take in beside if take.number == 1).distance == alone.distance


def test_the_beat_is_found_if_it_is_not_given(song, seed):
    given, found = (metrics.rank_takes([song], seed, RATE, beat)[0] for beat in (BEAT, None))
    assert found.distance == pytest.approx(given.distance, rel=0.1)


def test_short_songs_have_no_rhythm_to_measure(song, seed):
    names = set(metrics.rank_takes([song[: 3 * RATE]], seed, RATE, BEAT)[0].measures)
    assert "rhythm" in names
    assert "rhythm_last" not in names
    for given in ((song[:RATE], seed), (song, seed[:RATE])):
        assert not any(name.startswith("rhythm") for name in metrics.rank_takes([given[0]], given[1], RATE)[0].measures)


def test_silent_songs_have_finite_distances(song, seed):
    silent = np.zeros_like(song)
    ranked = metrics.rank_takes([silent, song], seed, RATE, BEAT)
    assert [take.number for take in ranked] == [1, 0]
    assert np.isfinite(ranked[1].distance)
    assert metrics.rank_takes([song, silent], np.zeros_like(seed), RATE)[0].number == 1


def test_bad_input(song, seed):
    with pytest.raises(ValueError, match=r"`songs` must hold at least one song"):
        metrics.rank_takes([], seed, RATE)
    with pytest.raises(ValueError, match=r"ranked by a song of 0.192 s or more. Received: 0.125 s"):
        metrics.rank_takes([song[:1000]], seed, RATE)
    with pytest.raises(ValueError, match=r"ranked by a seed of 0.064 s or more"):
        metrics.rank_takes([song], seed[:100], RATE)
    with pytest.raises(ValueError, match=r"`songs\[1\]` must be finite"):
        metrics.rank_takes([song, np.full_like(song, np.nan)], seed, RATE)
    with pytest.raises(ValueError, match="`beat_seconds`"):
        metrics.rank_takes([song], seed, RATE, 0)
