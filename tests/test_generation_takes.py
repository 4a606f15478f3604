"""Takes of one seed: each can be had again from its number alone, and they come in the order of their distances."""

import numpy as np
import pytest
from _parts import gaussian_generator

import gruvlike as gl

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def generator(melody):
    return gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 6))


def test_a_take_is_had_again_from_its_number_alone(generator, melody):
    seed = melody[:4000]
    takes = generator.takes(seed, 4, take=3, seconds=0.25, random_seed=5)
    assert sorted(take.number for take in takes) == [3, 4, 5, 6]
    for take in takes:
        again = generator.extend(seed, take=take.number, seconds=0.25, random_seed=5)
        np.testing.assert_array_equal(take.song, again)
    (alone,) = generator.takes(seed, 1, take=5, seconds=0.25, random_seed=5)
    beside = next(take for take in takes if take.number == 5)
    np.testing.assert_array_equal(alone.song, beside.song)
    assert alone.measures == beside.measures
    assert not np.allclose(takes[0].song, takes[1].song, atol=1e-3)
    other = generator.extend(seed, take=5, seconds=0.25, random_seed=6)
    assert not np.allclose(alone.song, other, atol=1e-3)


def test_a_take_is_a_clip(generator, melody):
    clips = generator.extend(melody[:4000], clips=3, steps=6)
    for number in range(3):
        np.testing.assert_allclose(generator.extend(melody[:4000], take=number, steps=6), clips[number], atol=1e-5)
    later = generator.extend(melody[:4000], clips=2, take=1, steps=6)
    np.testing.assert_allclose(later, clips[1:], atol=1e-5)
    refed = generator.extend(melody[:4000], take=2, steps=6, history="full")
    np.testing.assert_allclose(refed, clips[2], atol=1e-4)
    streamed = np.concatenate(list(generator.stream(melody[:4000], take=2, steps=6)))
    np.testing.assert_allclose(streamed, clips[2], atol=1e-5)


def test_takes_are_ranked_as_the_rule_says(generator, melody):
    seed = melody[:8000]
    takes = generator.takes(seed, 5, seconds=0.25)
    songs = [generator.extend(seed, take=number, seconds=0.25) for number in range(5)]
    expected = gl.metrics.rank_takes(songs, seed, 8000)
    assert [take.number for take in takes] == [one.number for one in expected]
    assert [take.distance for take in takes] == [one.distance for one in expected]
    assert [take.number for take in generator.takes(seed, 5, keep=2, seconds=0.25)] == [t.number for t in takes[:2]]


def test_takes_can_be_as_loud_as_their_seed(generator, melody):
    seed = 0.8 * melody[:8000]
    plain, leveled = (generator.takes(seed, 2, seconds=0.5, match_level=level) for level in (False, True))
    assert [take.number for take in plain] == [take.number for take in leveled]
    for take in leveled:
        np.testing.assert_array_equal(
            take.song, generator.extend(seed, take=take.number, seconds=0.5, match_level=True)
        )
        wanted = gl.audio.loudness(seed, 8000)
        is_full = np.abs(take.song).max() > 0.99  # a greater gain would clip it
        assert is_full or gl.audio.loudness(take.song, 8000) == pytest.approx(wanted, abs=0.5)
        assert abs(gl.audio.loudness(plain[0].song, 8000) - wanted) > 1  # the control


def test_bad_input(generator, melody):
    seed = melody[:4000]
    with pytest.raises(ValueError, match=r"`keep` must be at most `count`. Received: keep=3, count=2"):
        generator.takes(seed, 2, keep=3, seconds=0.25)
    with pytest.raises(ValueError, match=r"Takes differ by their draws.*at temperature 0"):
        generator.takes(seed, 2, seconds=0.25, temperature=0)
    with pytest.raises(ValueError, match=r"Takes are of one seed. Received: 2"):
        generator.takes([seed, seed], 2, seconds=0.25)
    with pytest.raises(ValueError, match="`takes` needs the length of the song"):
        generator.takes(seed, 2)
    with pytest.raises(ValueError, match="`take` must be an integer of at least 0"):
        generator.extend(seed, seconds=0.25, take=-1)
    point = gl.Generator(gl.recurrent_stack(16, units=(4,)), encoder=gl.MDCT(16), sample_rate=8000)
    with pytest.raises(ValueError, match=r"Takes differ by their draws. Received: a Point head"):
        point.takes(seed, 2, seconds=0.25)
    with pytest.raises(ValueError, match=r"are for heads that draw. Received: take=1, with a Point head"):
        point.extend(seed, seconds=0.25, take=1)
