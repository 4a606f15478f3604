"""The engine of live playing: nothing is lost between a stream and a sound card, and gaps are counted."""

import itertools
import time

import numpy as np
import pytest
from _parts import gaussian_generator

import gruvlike as gl

RATE, BLOCK = 16_000, 512


@pytest.fixture(scope="module")
def generator(melody):
    """A generator that draws its frames; what it has compiled serves all tests."""
    return gaussian_generator(melody)


class Simulation:
    """A maker and a sound card on one simulated clock: while a piece is made, the card takes its blocks.

    Args:
        factor: How many times as fast as it plays a song is made.
        piece: Samples in a piece.
        spread: The time for a piece varies by up to this share of it.
        buffer_seconds: As for `Player`.
    """

    def __init__(self, factor, piece=4000, spread=0.0, buffer_seconds=1.0):
        self.factor, self.piece, self.spread = factor, piece, spread
        self.now, self.due, self.played, self.rng = 0.0, None, [], np.random.default_rng(0)
        self.player = gl.live.Player(self.pieces(), RATE, buffer_seconds)

    def pieces(self):
        for number in itertools.count():
            share = 1 + self.spread * self.rng.uniform(-1, 1)
            self.pass_time(share * self.piece / RATE / self.factor)
            yield np.full(self.piece, number % 1000 / 1000, "float32")

    def pass_time(self, seconds):
        self.now += seconds
        while self.due is not None and self.due <= self.now:
            self.played.append(self.player.pull(BLOCK))
            self.due += BLOCK / RATE

    def run(self, seconds):
        self.player.fill()
        self.due = self.now
        end = self.now + seconds
        while self.now < end:
            if not self.player.fill_once():
                self.pass_time(max(self.due - self.now, 0))
        return self.player


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_at_a_factor_of_3_ten_minutes_have_no_gap(spread):
    simulation = Simulation(3, spread=spread)
    player = simulation.run(600)
    assert (player.underruns, player.missing) == (0, 0)
    played = np.concatenate(simulation.played)
    assert played.size == pytest.approx(600 * RATE, abs=RATE)
    expected = np.repeat(np.arange(-(-played.size // 4000)) % 1000 / 1000, 4000)[: played.size]
    assert np.array_equal(played, expected.astype("float32"))


def test_a_song_that_is_made_too_slowly_has_gaps_that_are_counted():
    """The control."""
    player = Simulation(0.9).run(60)
    assert player.underruns > 50
    assert player.missing / RATE == pytest.approx(0.1 * 60, abs=2)


def test_a_pause_as_long_as_the_buffer_makes_no_gap_and_a_longer_one_does():
    for pause, gaps in ((0.9, False), (1.3, True)):
        simulation = Simulation(3)
        made = simulation.pieces()

        def pieces(simulation=simulation, made=made, pause=pause):
            for number in itertools.count():
                if number == 40:
                    simulation.pass_time(pause)
                yield next(made)

        simulation.player = gl.live.Player(pieces(), RATE, 1.2)
        assert bool(simulation.run(30).underruns) == gaps


@pytest.mark.parametrize("sizes", [[1], [7, 1, 30], [100, 3]])
def test_pieces_of_any_size_are_played_in_order(sizes, rng):
    pieces = [rng.uniform(-1, 1, size).astype("float32") for size in sizes * 5]
    player = gl.live.Player(iter(pieces), 8, buffer_seconds=2.0)
    played = []
    while not player.ended:
        player.fill()
        assert player.buffered_seconds <= 2.0
        played.append(player.pull(3))
    song = np.concatenate(pieces)
    played = np.concatenate(played)
    assert np.array_equal(played[: song.size], song)
    assert not played[song.size :].any()
    assert player.underruns == 0


def test_a_thread_of_its_own_fills_the_buffer(generator, melody):
    song = np.concatenate(list(generator.stream(melody, seconds=0.5, frames_at_once=4)))
    played = []
    with gl.live.Player(generator.stream(melody, seconds=0.5, frames_at_once=4), 8000, 0.1) as player:
        while not player.ended:
            count = min(100, round(8000 * player.buffered_seconds))
            if count:
                played.append(player.pull(count))
            else:
                time.sleep(0.001)
    assert np.array_equal(np.concatenate(played), song)
    assert (player.underruns, player.error) == (0, None)


def test_an_error_of_the_maker_ends_the_song_and_is_kept():
    def pieces():
        yield np.ones(4)
        raise ValueError("the disk is full")

    with gl.live.Player(pieces(), 8) as player:
        while player.error is None:
            time.sleep(0.001)
        assert player.pull(4).tolist() == [1, 1, 1, 1]
        assert player.ended
    assert str(player.error) == "the disk is full"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": 8, "buffer_seconds": 0}, "buffer_seconds"),
        ({"sample_rate": 8, "buffer_seconds": 1e9}, "buffer_seconds"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        gl.live.Player(iter([]), **options)


def test_bad_pieces_and_counts_are_refused():
    with pytest.raises(ValueError, match="mono"):
        gl.live.Player(iter([np.zeros((2, 4))]), 8).fill()
    with pytest.raises(ValueError, match="count"):
        gl.live.Player(iter([]), 8).pull(0)


# --- the temperature of a stream --------------------------------------------------------------------------------------


def song_at(generator, seed, temperature, steps=24):
    return np.concatenate(list(generator.stream(seed, steps=steps, temperature=temperature, frames_at_once=4)))


@pytest.mark.backends
def test_a_temperature_can_change_while_a_stream_runs(generator, melody):
    cool, hot = song_at(generator, melody, 0.2), song_at(generator, melody, 1.5)
    assert np.array_equal(song_at(generator, melody, lambda: 0.2), cool)
    asked = []

    def rising():
        asked.append(0)
        return 0.2 if len(asked) <= 4 else 1.5

    risen = song_at(generator, melody, rising)
    # The first question is whether it is in range; three pieces follow before it rises.
    same = 3 * 4 * generator.encoder.hop
    assert np.array_equal(risen[:same], cool[:same])
    assert np.abs(risen[same : same + 64] - cool[same : same + 64]).max() > 0.01
    assert np.abs(risen[same:] - hot[same:]).max() > 0.01


def test_a_temperature_out_of_range_is_refused_when_it_is_asked_for(generator, melody):
    with pytest.raises(ValueError, match="temperature"):
        generator.stream(melody, temperature=lambda: -1.0)
    values = iter([1.0, 1.0, float("nan")])
    stream = generator.stream(melody, temperature=lambda: next(values), frames_at_once=4)
    next(stream)
    with pytest.raises(ValueError, match="temperature"):
        next(stream)
