"""`gruvlike play`, with a sound card that is not there."""

import io
import os
import sys
import types

import numpy as np
import pytest

import gruvlike as gl
from gruvlike import cli
from gruvlike.cli import _keys, play


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a model that draws, one that does not, and a seed."""
    folder = tmp_path_factory.mktemp("play")
    music = gl.tune.compose(4, 8000)
    gl.audio.write(folder / "seed.wav", music, 8000)
    encoder = gl.BlockDFT(100)
    normalizer = gl.GlobalScale().fit(music, encoder)
    drawing, style = gl.heads.Mixture(components=2, temperature=0.5), gl.Style(("jazz", "rock"), random_seed=0)
    for name, head, reads in (("draws", drawing, None), ("plain", None, None), ("styled", None, style)):
        stack = gl.recurrent_stack(encoder.features, units=(4,), head=head, style=reads, random_seed=0)
        gl.AudioModel(encoder, normalizer, stack, 8000, **({"head": head} if head else {})).save(
            folder / f"{name}.keras"
        )
    return folder


class PortAudioError(Exception):
    """As that of sounddevice."""


class Card:
    """As `sounddevice.OutputStream`: it plays at once, a block each time that somebody looks at it.

    Attributes:
        blocks: The samples that were played, over all cards.
    """

    blocks: list
    dies = False

    def __init__(self, callback, **settings):
        self.callback, self.settings = callback, settings

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def active(self):
        block = np.full((400, 1), np.nan, "float32")
        self.callback(block, 400, None, None)
        Card.blocks.append(block[:, 0])
        return not (self.dies and len(Card.blocks) > 2)


@pytest.fixture
def card(monkeypatch):
    """The fake sounddevice; tests change it."""
    Card.blocks = []
    module = types.SimpleNamespace(
        PortAudioError=PortAudioError, OutputStream=Card, check_output_settings=lambda **_: None
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(play, "_LOOK_SECONDS", 0.001)
    return module


def words(work, model="draws", *more):
    return ["play", f"{work}/{model}.keras", f"{work}/seed.wav", "--seconds", "0.5", *more]


def fails(capsys, arguments, *says):
    capsys.readouterr()
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("gruvlike: error: ")
    for text in says:
        assert text in error


def test_the_song_reaches_the_card(work, card, capsys):
    assert cli.main(words(work)) == 0
    generator = gl.Generator(gl.load(work / "draws.keras"))
    expected = generator.extend(gl.audio.read(work / "seed.wav", 8000), seconds=0.5)
    played = np.concatenate(Card.blocks)
    assert np.array_equal(played[:4000], expected)
    assert not played[4000:].any()
    assert "+ and - change the temperature" in capsys.readouterr().out


def test_keys_change_the_temperature_and_end_the_song(work, card, monkeypatch, capsys):
    given, streamed, stream = iter(["", "++", "0", "+", "x", "q"]), [], gl.Generator.stream
    monkeypatch.setattr(_keys, "pressed", lambda: _Keys(given))
    monkeypatch.setattr(
        gl.Generator, "stream", lambda self, seed, **options: streamed.append(options) or stream(self, seed, **options)
    )
    arguments = words(work)
    arguments.remove("--seconds")
    arguments.remove("0.5")
    assert cli.main(arguments) == 0  # a song without end ends by its key alone
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("temperature ")]
    assert lines == ["temperature 0.6", "temperature 0.7", "temperature 0.5", "temperature 0.6"]
    assert streamed[0]["temperature"]() == 0.6  # the stream asks for the temperature of the moment


def test_keys_change_the_style(work, card, monkeypatch, capsys):
    given, streamed, stream = iter(["", "n", "n", "np", "+", "p", "q"]), [], gl.Generator.stream
    monkeypatch.setattr(_keys, "pressed", lambda: _Keys(given))
    monkeypatch.setattr(
        gl.Generator, "stream", lambda self, seed, **options: streamed.append(options) or stream(self, seed, **options)
    )
    arguments = words(work, "styled", "--style", "jazz:3,rock:1")
    arguments[3:5] = []  # without end
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Keys: n and p go to the next and the previous style; q ends." in out
    lines = [line for line in out.splitlines() if line.startswith("style ")]
    every = "style all in equal parts"
    assert lines == [every, "style jazz", "style rock", "style jazz", every]
    assert streamed[0]["style"]() is None  # the stream asks for the style of the moment


def test_the_style_of_the_begin(work, card, capsys):
    assert cli.main(words(work, "styled", "--style", "rock")) == 0
    generator = gl.Generator(gl.load(work / "styled.keras"))
    seed, played = gl.audio.read(work / "seed.wav", 8000), np.concatenate(Card.blocks)[:4000]
    np.testing.assert_allclose(played, generator.extend(seed, seconds=0.5, style="rock"), atol=1e-6)
    assert np.abs(played - generator.extend(seed, seconds=0.5, style="jazz")).max() > 1e-4
    fails(capsys, words(work, "styled", "--style", "pop"), "must be one of 'jazz', 'rock'")
    fails(capsys, words(work, "plain", "--style", "jazz"), "for a network that reads one style")


def test_a_switch_goes_around():
    switch = play.Switch({"all": None, "jazz": "jazz", "rock": "rock"})
    assert [switch.turn("n") and switch() for _ in range(4)] == ["jazz", "rock", None, "jazz"]
    assert [switch.turn("p") and switch() for _ in range(2)] == [None, "rock"]
    assert not switch.turn("+")
    assert switch() == "rock"


class _Keys:
    def __init__(self, given):
        self.given = given

    def __enter__(self):
        return lambda: next(self.given)

    def __exit__(self, *_):
        pass


def test_a_dial_has_ends():
    dial = play.Dial(0.15)
    assert [dial.turn("-") and dial() for _ in range(3)] == [0.05, 0.0, 0.0]
    for _ in range(40):
        dial.turn("+")
    assert dial() == 3.0
    assert not dial.turn("y")
    assert dial.turn("0")
    assert dial() == 0.15


def test_a_network_that_draws_nothing_plays_and_has_no_temperature(work, card, capsys):
    assert cli.main(words(work, "plain")) == 0
    assert "Key: q ends." in capsys.readouterr().out
    fails(capsys, words(work, "plain", "--temperature", "0.5"), "heads that draw")


def test_gaps_are_said(work, card, monkeypatch, capsys):
    monkeypatch.setattr(gl.live.Player, "fill", lambda self: None)  # the card is asked before anything is made
    monkeypatch.setattr(gl.live.Player, "_keep_filled", lambda self: None)
    seen = iter([False] * 3 + [True] * 9)
    monkeypatch.setattr(gl.live.Player, "ended", property(lambda self: next(seen)))
    assert cli.main(words(work)) == 0
    assert "3 gaps, 0.1 s in all" in capsys.readouterr().out


def test_without_sounddevice_or_its_library_there_is_a_way_out(work, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    fails(capsys, words(work), "package sounddevice", "gruvlike[play]", "gruvlike generate")
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fails(capsys, words(work), "library PortAudio", "libportaudio2", "gruvlike generate")
    sys.modules.pop("sounddevice", None)


def test_without_a_card_there_is_a_way_out(work, card, capsys):
    def refuse(**settings):
        raise PortAudioError("Error querying device -1")

    card.check_output_settings = refuse
    fails(capsys, words(work), "sound card", "Error querying device -1", "--device", "gruvlike generate")


def test_a_card_that_stops_is_an_error(work, card, monkeypatch, capsys):
    monkeypatch.setattr(Card, "dies", True)
    fails(capsys, words(work), "must play on")


def test_the_device_is_a_number_or_a_name(work, card, capsys):
    asked = []

    def refuse(**settings):
        asked.append(settings)
        raise ValueError(f"No output device matching {settings['device']!r}")

    card.check_output_settings = refuse
    for device in ("3", "USB"):
        fails(capsys, words(work, "draws", "--device", device), "No output device matching")
    assert [one["device"] for one in asked] == [3, "USB"]
    assert {(one["samplerate"], one["channels"]) for one in asked} == {(8000, 1)}


@pytest.mark.parametrize(
    "wrong",
    ["--seconds 0", "--temperature -1", "--buffer 0", "--leash 2", "--random-seed -1", "--bpm 1", "--style 0=jazz"],
)
def test_wrong_values_are_refused_before_anything_is_opened(wrong, capsys):
    fails(capsys, ["play", "none.keras", "none.wav", *wrong.split()], "Received: ")


def test_files_that_are_not_there(work, card, capsys):
    fails(capsys, ["play", "none.keras", f"{work}/seed.wav"], "There is no file 'none.keras'")
    fails(capsys, ["play", f"{work}/draws.keras", "none.wav"], "There is no file 'none.wav'")


def test_keys_of_a_terminal_are_read_without_waiting(monkeypatch):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        import termios

        before = termios.tcgetattr(slave)
        with _keys.pressed() as keys:
            assert keys() == ""
            os.write(master, b"+q")
            found = ""
            while len(found) < 2:
                found += keys()
            assert found == "+q"
        assert termios.tcgetattr(slave) == before
    os.close(master)
    monkeypatch.setattr(sys, "stdin", io.StringIO("+q"))  # no terminal: no keys
    with _keys.pressed() as keys:
        assert keys() == ""
