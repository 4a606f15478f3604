"""Songs that are drawn several times, moment by moment: the candidate goes on that is most like the seed."""

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike.conditions import Meter
from gruvlike.generation._bars import bar_pattern, likeness
from gruvlike.generation._chosen import ChosenPast
from gruvlike.generation._guard import Usual
from gruvlike.generation._memory import Sampling, Wish

RATE = 4000


@pytest.fixture(scope="module")
def generator():
    """A network with a beat and its own past, which draws, and is not trained."""
    head = gl.heads.Mixture(components=2, temperature=0.6)
    encoder = gl.TimeBlocks(40)
    conditions = {"clock": gl.Clock(), "lags": gl.Lags(beats=(1,))}
    stack = gl.recurrent_stack(40, cell="gru", units=(6,), head=head, random_seed=0, **conditions)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(10, RATE), encoder)
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=RATE, head=head)


@pytest.fixture(scope="module")
def seed():
    return gl.tune.compose(5, RATE)


class Drawn:
    """Stands for songs whose frames are known: of each candidate always the same."""

    chunk = 4

    def __init__(self, levels):
        self.levels, self.kept = np.array(levels, "float32"), []

    def take(self, steps):
        ramp = np.linspace(-1, 1, 4)[np.arange(steps) % 4]
        return self.levels[:, None, None] + np.repeat(ramp[None, :, None], len(self.levels), axis=0)

    def keep(self, rows):
        self.kept.append(rows)


def usual(levels):
    ramp = np.tile(np.linspace(-1, 1, 4), 4)
    return Usual.of([level + ramp[:, None] for level in levels])


def test_the_candidate_most_like_the_seed_goes_on():
    rows = Drawn([0.0, 5.0, 1.0, 7.0, 2.9, 0.0])
    past = ChosenPast(rows, usual([1.2, 3.0]), [], 3, moment=8)
    sung = past.take(20)
    assert sung.shape == (2, 20, 1)
    np.testing.assert_allclose(sung.mean(axis=(1, 2)), [1.0, 2.9], atol=1e-6)
    assert rows.kept == [[2, 2, 2, 4, 4, 4]] * 3  # three moments, each of two chunks, hold 20 frames


def test_other_pieces_are_the_same_song():
    one, two = (ChosenPast(Drawn([0.0, 5.0, 1.0]), usual([1.2]), [], 3, moment=8) for _ in range(2))
    pieces = [one.take(count) for count in (1, 7, 8, 5)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), two.take(21))


def test_a_pattern_tells_strokes_at_other_times_of_the_bar():
    frames = np.zeros((129, 3))
    frames[10::32, 0] = 1.0
    meter = Meter(period=8.0, first=0.0)
    pattern = bar_pattern(frames, meter, 0)
    assert likeness(pattern, bar_pattern(frames[32:], meter, 32)) > 0.99
    assert likeness(pattern, bar_pattern(np.roll(frames, 6, axis=0), meter, 0)) < 0.1
    assert likeness(pattern, bar_pattern(np.roll(frames, 1, axis=1), meter, 0)) < 0.1
    assert not bar_pattern(frames, Meter(period=8.0, first=float("nan")), 0).any()


def test_a_network_with_conditions_chooses(generator, seed):
    plain = generator.extend(seed, seconds=4, choices=1)
    chosen = generator.extend(seed, seconds=4)
    np.testing.assert_array_equal(chosen, generator.extend(seed, seconds=4, choices=4))
    assert not np.allclose(plain, chosen)
    assert np.abs(chosen - generator.extend(seed, seconds=4, random_seed=1)).max() > 1e-3


@pytest.mark.backends
def test_a_clip_is_the_same_beside_others_and_a_longer_song_begins_the_same(generator, seed):
    other = seed[: 4 * RATE][::-1].copy()
    both = generator.extend([seed, other], seconds=3)
    np.testing.assert_allclose(both[0], generator.extend(seed, seconds=3), atol=1e-5)
    np.testing.assert_allclose(both[0][:RATE], generator.extend(seed, seconds=1), atol=1e-5)
    pieces = list(generator.stream(seed, seconds=3, frames_at_once=7))
    np.testing.assert_allclose(np.concatenate(pieces), both[0], atol=1e-5)
    memory = generator.listen(seed)
    np.testing.assert_allclose(generator.extend(memory, seconds=3), both[0], atol=1e-5)


def test_choosing_keeps_songs_nearer_to_their_seed(generator, seed):
    """Its level, for instance: that of an untrained network is another one."""

    def distance(song):
        return abs(np.log(song.std() / seed.std()))

    songs = {
        n: [generator.extend(seed, seconds=6, leash=0, choices=n, random_seed=k) for k in range(4)] for n in (1, 4)
    }
    assert np.median([distance(song) for song in songs[4]]) < np.median([distance(song) for song in songs[1]])


def test_choices_that_have_no_effect_are_refused(generator, seed):
    plain = gl.Generator(gl.recurrent_stack(40, units=(3,)), encoder=gl.TimeBlocks(40), sample_rate=RATE)
    with pytest.raises(ValueError, match="Received: choices=4, with a Point head"):
        plain.extend(seed, seconds=1, choices=4)
    with pytest.raises(ValueError, match=r"`choices` must be a positive integer\. Received: choices=0"):
        generator.extend(seed, seconds=1, choices=0)
    head = gl.heads.Mixture(components=2)
    drawing = gl.Generator(
        gl.recurrent_stack(40, units=(3,), head=head), encoder=gl.TimeBlocks(40), sample_rate=RATE, head=head
    )
    with pytest.raises(ValueError, match='choices: only for `history="carry"`'):
        drawing.extend(seed, seconds=1, choices=2, history="full")


@pytest.mark.backends
def test_songs_go_on_from_those_that_are_kept(generator, seed):
    """States, last frame, and frames of the song's own past: all that the next moment reads."""
    memory = generator.listen([seed, seed[::-1].copy()])
    wish = Wish(None, "carry", False, Sampling(temperature=0.6, random_seed=0, choices=2))
    (past,), _ = generator._network.go_on(memory, wish)
    rows = past._rows
    rows.take(30)
    before = [np.array(keras.ops.convert_to_numpy(one)) for one in keras.tree.flatten(tuple(rows.carried))]
    past_frames = [frames.at(np.array([29])) for frames in rows._frames]
    assert all(not np.allclose(one[0], one[1]) for one in before)
    rows.keep([1, 1, 2, 2])
    after = [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(tuple(rows.carried))]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old[[1, 1, 2, 2]])
    for row, kept in enumerate([1, 1, 2, 2]):
        np.testing.assert_array_equal(rows._frames[row].at(np.array([29])), past_frames[kept])
    rows._frames[0].append(np.zeros((1, 40), "float32"))
    assert rows._frames[1].done == 30  # rows that were one song do not share their later frames
