"""Mixed memories, songs that move from seed to seed, and passages made anew between two sounds."""

import numpy as np
import pytest
from _parts import gaussian_generator

import gruvlike as gl
from gruvlike.conditions import Meter
from gruvlike.generation._memory import CarriedPast, Sampling, _past_between, turns_of
from gruvlike.generation._morph import MorphedPast, Path
from gruvlike.generation._takes import closest_end
from gruvlike.rhythm import Beat

pytestmark = pytest.mark.backends

CONDITIONS = {"clock": gl.Clock, "lags": lambda: gl.Lags(beats=(1, 2.5)), "anchor": lambda: gl.Anchor(beats=4)}


@pytest.fixture(scope="module")
def generator(melody):
    return gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 6))


@pytest.fixture
def conditioned(melody, monkeypatch):
    """A generator that reads the beat, and the tempo that is found: that of each seed depends on its first sample."""

    def tempo(samples, rate, bpm=None):
        return Beat(0.05 if samples[0] >= 0 else 0.06, 0.0123, 1.0)

    monkeypatch.setattr(gl.rhythm, "tempo", tempo)
    conditions = {name: make() for name, make in CONDITIONS.items()}
    return gaussian_generator(melody, encoder=gl.MDCT(40), residual=False, **conditions)


def two_seeds(melody):
    first, second = melody[:4000].copy(), melody[7000:10_600].copy()
    first[0], second[0] = 0.1, -0.1  # two tempos, where they are asked for
    return first, second


@pytest.fixture(params=["plain", "conditioned"])
def any_generator(request):
    return request.getfixturevalue({"plain": "generator"}.get(request.param, request.param))


# --- mixing


def test_with_weight_0_and_1_songs_are_those_of_the_seeds_to_the_last_bit(any_generator, melody):
    seeds = two_seeds(melody)
    memories = [any_generator.listen(seed) for seed in seeds]
    songs = [any_generator.extend(seed, seconds=0.25) for seed in seeds]
    for weight in (0, 1):
        mixed = memories[0].mix(memories[1], weight)
        np.testing.assert_array_equal(any_generator.extend(mixed, seconds=0.25), songs[weight])
    half = any_generator.extend(memories[0].mix(memories[1], 0.5), seconds=0.25)
    assert min(np.abs(half - song).max() for song in songs) > 1e-3


def test_a_mix_lies_between(generator, melody):
    first, second = (generator.listen(seed) for seed in two_seeds(melody))
    mixed = first.mix(second, 0.25)
    for name in ("frames", "samples"):
        np.testing.assert_allclose(
            getattr(mixed, name), 0.75 * getattr(first, name) + 0.25 * getattr(second, name), atol=1e-6
        )
    for own, one, two in zip(mixed.states, first.states, second.states, strict=True):
        np.testing.assert_allclose(own, 0.75 * np.asarray(one) + 0.25 * np.asarray(two), atol=1e-6)
    np.testing.assert_allclose(mixed.usual.mean, 0.75 * first.usual.mean + 0.25 * second.usual.mean, atol=1e-6)


def test_meters_are_mixed_around_the_bar():
    early, late = Meter(20.0, 3.9), Meter(30.0, 0.3)
    mixed = Meter.mix([early, late], [0.5, 0.5])
    assert mixed.period == 25
    assert mixed.first % 4 == pytest.approx(0.1)
    assert Meter.mix([early, late], [0, 1]) == late
    unclear = Meter(25.0, float("nan"))
    assert Meter.mix([early, unclear], [0.5, 0.5]).first % 4 == pytest.approx(3.9)
    assert np.isnan(Meter.mix([unclear, unclear], [0.5, 0.5]).first)


def test_pasts_are_mixed_at_the_same_distance_in_beats():
    slow, fast = np.arange(-40.0, 0)[:, None], np.arange(-20.0, 0)[:, None]  # four beats each
    meters = Meter(10.0, 0.0), Meter(5.0, 0.0)
    between = _past_between([slow, fast], meters, Meter(10.0, 0.0), [0.5, 0.5])
    assert len(between) == 40
    for beat, turn in zip(range(-4, 0), turns_of([0.5, 0.5], np.arange(-4, 0)), strict=True):
        places = np.arange(10 * beat, 10 * beat + 10)
        expected = np.minimum(np.round(places / 2), -1) if turn else places
        np.testing.assert_array_equal(between[10 * beat + 40 : 10 * beat + 50, 0], expected)


def test_pasts_are_mixed_at_the_same_place_in_the_bar():
    """One song begins on a downbeat, the other a beat after it: frames of one beat keep their number in the bar."""
    meters = Meter(10.0, 0.0), Meter(10.0, 1.0)
    beats = [np.floor((np.arange(-80, 0) / 10 + meter.first) % 4)[:, None] for meter in meters]
    for target in (*meters, Meter(10.0, 0.5)):
        mixed = _past_between(beats, meters, target, [0.5, 0.5])
        expected = np.floor((np.arange(-80, 0) / 10 + target.first) % 4)
        assert (mixed[:, 0] == expected).mean() > 0.9
    np.testing.assert_array_equal(_past_between(beats, meters, meters[1], [0, 1]), beats[1])


def test_each_has_its_share_of_the_beats():
    beats = np.arange(-8, 200)
    before = np.zeros(len(beats), bool)
    for weight in (0, 0.25, 0.5, 0.9, 1):
        turns = turns_of([1 - weight, weight], beats)
        assert abs(turns[:8].mean() - weight) <= 0.13
        assert turns.mean() == pytest.approx(weight, abs=0.02)
        assert (turns[before] == 1).all()  # as the weight rises it only gains beats
        before = turns == 1
    assert np.bincount(turns_of([0.2, 0.3, 0.5], beats)).tolist() == pytest.approx([41.6, 62.4, 104], abs=3)


def test_memories_that_cannot_be_mixed(generator, melody):
    seeds = two_seeds(melody)
    memory = generator.listen(seeds[0])
    twin = gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 6))
    twin.stack.set_weights([0.9 * weight for weight in twin.stack.get_weights()])
    with pytest.raises(ValueError, match="must be of one network"):
        memory.mix(twin.listen(seeds[1]), 0.5)
    with pytest.raises(ValueError, match=r"must be of one network.*memories of 1 and 2 clips"):
        memory.mix(generator.listen(list(seeds)), 0.5)
    for weight in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="`weight`"):
            memory.mix(memory, weight)
    with pytest.raises(TypeError, match=r"A memory is mixed with a memory. Received: ndarray"):
        memory.mix(seeds[1], 0.5)


def test_a_memory_of_another_network_of_the_same_shape_is_refused(generator, melody):
    """Two runs of one recipe have equal shapes; the sound of one in the other would be noise."""
    twin = gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 6))
    same = twin.listen(melody[:400])
    assert generator.extend(same, steps=3).shape == (48,)  # the control: the same weights
    twin.stack.set_weights([0.9 * weight for weight in twin.stack.get_weights()])
    with pytest.raises(ValueError, match=r"belongs to the network that listened.*before it was trained on"):
        generator.extend(twin.listen(melody[:400]), steps=3)
    with pytest.raises(ValueError, match="belongs to the network that listened"):
        twin.extend(same, steps=3)


# --- a path


def test_a_path_passes_all_seeds_at_even_distances():
    path = Path(None, count=3, steps=100)
    assert [path.at(frame) for frame in (0, 25, 50, 75, 100, 200)] == [
        [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]  # fmt: skip
    assert Path([[1, 3]], count=2, steps=10).at(7) == [0.25, 0.75]
    for weights, message in (
        ([[1, -1]], "`weights` must be a finite number"),
        ([[0, 0]], "do not all equal 0"),
        ([[1, 0, 0]], "must be 2 numbers"),
        ([], "at least one place"),
    ):
        with pytest.raises(ValueError, match=message):
            Path(weights, count=2, steps=10)


@pytest.mark.parametrize("weights", [[[1, 0]], [[0, 2]]])
def test_a_morph_with_all_weight_on_one_seed_is_its_song_to_the_last_bit(any_generator, melody, weights):
    seeds = two_seeds(melody)
    chosen = int(np.argmax(weights[0]))
    song = any_generator.extend(seeds[chosen], seconds=0.4, random_seed=3, choices=1)
    np.testing.assert_array_equal(any_generator.morph(seeds, seconds=0.4, weights=weights, random_seed=3), song)
    np.testing.assert_array_equal(any_generator.morph([seeds[chosen]], seconds=0.4, random_seed=3), song)


def test_a_morph_goes_from_the_song_of_one_seed_to_that_of_the_other(conditioned, melody):
    """A network that is shaken forgets a seed unless it goes on reading it: so this one reads an anchor."""
    memories = [conditioned.listen(seed) for seed in two_seeds(melody)]
    first, second = (conditioned.extend(memory, seconds=1, choices=1) for memory in memories)
    morphed = conditioned.morph(memories, seconds=1)
    assert morphed.shape == first.shape
    edge = len(morphed) // 10
    assert np.abs(morphed - first)[:edge].mean() < np.abs(morphed - second)[:edge].mean()
    assert np.abs(morphed - second)[-edge:].mean() < np.abs(morphed - first)[-edge:].mean()


def test_a_morph_is_drawn_to_the_songs_beside_it(generator, melody):
    """Without conditions nothing else keeps it near them: each piece ends a quarter nearer to the one that leads."""
    memories = [generator.listen(seed) for seed in two_seeds(melody)]
    sampling = Sampling(temperature=1.0, random_seed=0)
    loop = generator._network._programs.loop(1, None)
    past = MorphedPast(loop, memories, Path([[1, 3]], count=2, steps=80), sampling)
    alone = CarriedPast(loop, past.memory, sampling)
    beside = [CarriedPast(loop, memory, sampling) for memory in memories]
    for one in (past, alone, *beside):
        one.take(8)
    ends = [[one.carried.frame, *one.carried.states] for one in (past._song, alone, *beside)]
    for moved, own, *others in zip(*ends, strict=True):
        own, target = np.asarray(own), np.asarray(others[turns_of([0.25, 0.75], np.zeros(1))[0]])
        np.testing.assert_allclose(moved, own + 0.25 * (target - own), atol=1e-5)
        assert np.abs(target - own).max() > 1e-4


def test_a_morph_that_cannot_be(generator, melody):
    seeds = two_seeds(melody)
    for given in ([], seeds[0], generator.listen(seeds[0])):
        with pytest.raises(ValueError, match="one or more seeds, in a list"):
            generator.morph(given, seconds=0.1)
    for weights in ([0.5, 0.5], 0.5, "ab", [[[0.5, 0.5]]]):
        with pytest.raises(ValueError, match="must be rows of 2 numbers, a row for each place"):
            generator.morph(seeds, seconds=0.1, weights=weights)
    with pytest.raises(ValueError, match="`morph` needs the length"):
        generator.morph(seeds)
    with pytest.raises(ValueError, match=r"A song morphs from one clip to the next. Received: a memory of 2"):
        generator.morph([generator.listen(list(seeds))], seconds=0.1)


# --- a passage made anew


def test_a_filled_passage_joins_both_sides(generator, melody):
    before, after = melody[:4000], melody[8000:12_000]
    whole = generator.fill(before, after, 0.5, fade_seconds=0.02)
    assert whole.shape == (12_000,)
    np.testing.assert_array_equal(whole[:4000], before)
    np.testing.assert_array_equal(whole[8160:], after[160:])
    candidates = [generator.extend(before, seconds=1, take=number) for number in range(8)]
    best = candidates[closest_end(candidates, after, 8000)]
    np.testing.assert_array_equal(whole[4000:8000], best[:4000])
    assert any(not np.array_equal(whole[4000:8000], one[:4000]) for one in candidates)  # the control


def test_the_candidate_whose_end_is_closest_is_taken(melody):
    after = melody[:4000]
    songs = [np.concatenate([melody, melody[start : start + 4000]]) for start in (4000, 2000, 0, 6000)]
    assert closest_end(songs, after, 8000) == 2


def test_a_network_that_draws_nothing_fills_too(melody):
    encoder = gl.BlockDFT(16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    stack = gl.recurrent_stack(encoder.features, units=(6,), random_seed=0)
    generator = gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)
    assert generator.fill(melody[:800], melody[4000:8000], 0.1).shape == (800 + 800 + 4000,)


def test_sounds_too_short_to_fill_between(generator, melody):
    with pytest.raises(ValueError, match=r"`after` must be as long as the crossfade.*Received: 0.0125 s"):
        generator.fill(melody[:4000], melody[:100], 0.5)
    with pytest.raises(ValueError, match="`after` must be as long as the crossfade, and as 1 s"):
        generator.fill(melody[:4000], melody[:4000], 0.5, fade_seconds=1)
    with pytest.raises(ValueError, match="`seconds`"):
        generator.fill(melody[:4000], melody[:4000], 0)
    with pytest.raises(ValueError, match="`after` must be finite"):
        generator.fill(melody[:4000], np.full(4000, np.nan, "float32"), 0.5)
