"""`gruvlike doctor`: its messages, and the faults that it finds."""

import keras
import pytest

import gruvlike as gl
from gruvlike import cli

pytestmark = pytest.mark.programs


def test_too_little_time_to_learn(capsys):
    assert cli.main(["doctor", "--seconds", "0.01"]) == 2
    said = capsys.readouterr()
    for word in ("versions", "backend", "GPU", "audio files", "a tune composed", "exact to", "learning"):
        assert word in said.out
    assert "must get its loss below 0.1" in said.err
    assert "All is well" not in said.out


@pytest.mark.parametrize("part", ["BlockDFT.decode", "GlobalScale.inverse"])
def test_a_way_back_that_is_broken(part, capsys, monkeypatch):
    owner, name = part.split(".")
    whole = getattr(getattr(gl, owner), name)
    monkeypatch.setattr(getattr(gl, owner), name, lambda self, frames: 1.01 * whole(self, frames))
    assert cli.main(["doctor", "--seconds", "0.01"]) == 2
    said = capsys.readouterr()
    assert "Samples must survive encoding, scaling and the way back. Received: an error of 0.0" in said.err
    assert "learning" not in said.out


def test_a_network_that_hears_nothing(capsys, monkeypatch):
    """A network without inputs cannot learn the music, however long it trains; a whole one does, see below."""
    built = gl.recurrent_stack

    def deaf(features, **options):
        stack = built(features, **options)
        inputs = keras.Input((None, features))
        return keras.Model(inputs, stack(keras.layers.Rescaling(0)(inputs)))

    monkeypatch.setattr(gl, "recurrent_stack", deaf)
    assert cli.main(["doctor", "--seconds", "4"]) == 2
    said = capsys.readouterr()
    assert float(said.err.split("Received: ")[1].split(". ")[0]) > 0.5
    assert "All is well" not in said.out


@pytest.mark.slow
def test_the_tune_can_be_learned_in_a_minute(capsys):
    assert cli.main(["doctor", "--seconds", "60"]) == 0
    assert "All is well" in capsys.readouterr().out


def test_bad_music(tmp_path, capsys):
    assert cli.main(["doctor", str(tmp_path / "none")]) == 2
    assert "There is no music" in capsys.readouterr().err
    assert cli.main(["doctor", "--seconds", "-1"]) == 2
    assert "`seconds` must be" in capsys.readouterr().err
    (tmp_path / "text.wav").write_text("no sound")
    assert cli.main(["doctor", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "cannot be used" in said.out
    assert "none among 20 files" in said.err
    gl.audio.write(tmp_path / "short.wav", gl.tune.compose(1, 8000), 8000)
    assert cli.main(["doctor", str(tmp_path / "short.wav")]) == 2
    assert "The check needs 3 s of music" in capsys.readouterr().err
