"""The script that measures styles, at a tiny size."""

import numpy as np
import pytest

import gruvlike as gl

RATE = 16_000


@pytest.fixture
def script(bench):
    return bench("styles")


def test_openings_are_of_music_that_is_not_learned(script):
    tracks = [np.arange(70.0 * RATE), np.arange(2e9, 2e9 + 80 * RATE), np.arange(4e9, 4e9 + 30 * RATE)]
    music = script.cut("a", tracks, count=5)
    shares = [len(one) / len(track) for one, track in zip(music.learned, tracks, strict=True)]
    assert shares == pytest.approx([0.7] * 3, abs=1e-5)
    learned = np.concatenate(music.learned)
    for opening, following in zip(music.openings, music.following, strict=True):
        assert (len(opening), len(following)) == (8 * RATE, 12 * RATE)
        assert following[0] == opening[-1] + 1
        assert not np.isin([opening[0], following[-1]], learned).any()
        assert opening[0] < 4e9  # the rest of the last track is too short
    with pytest.raises(ValueError, match=r"20 s after its first 70%. Received: none, 'a'"):
        script.cut("a", tracks[2:], count=5)


def test_the_name_of_a_music(script, tmp_path):
    assert [script.label_of(tmp_path / name) for name in ("jazz", "rock/music")] == ["jazz", "rock"]


@pytest.mark.programs
def test_a_row_for_each_way_music_and_style(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SONG", 2.0)
    tune = gl.tune.compose(40, RATE)
    dull = np.convolve(gl.tune.compose(40, RATE, random_seed=1), np.full(32, 1 / 32), "same").astype("float32")
    music = script.cut("tune", [tune], 2), script.cut("dull", [dull], 2)
    model = script.train(music, tmp_path, 0.001, network={"units": (8,)}, normalizer={"components": 8})
    assert gl.conditions.conditions_of(model.stack)[-1].labels == ("dull", "tune")
    rows = list(script.rows(music, model, script.embedding(None)))
    assert {len(row) for row in rows} == {len(script.HEADER)}
    real, songs = rows[:2], rows[2:]
    for place, (name, of, _, _, *distances) in enumerate(real):
        assert (name, of) == ("the music that follows", music[place].label)
        assert float(distances[place]) < float(distances[1 - place])
    assert [row[1:3] for row in songs] == [
        [of, style] for style in ("tune", "dull") for of in ("tune", "dull", "both")
    ] * 2
    assert songs[0][4:] != songs[3][4:]  # the style decides on the song
    again = script.train(music, tmp_path, 0.001)
    np.testing.assert_array_equal(again.stack.weights[0], model.stack.weights[0])  # the network of the call before
