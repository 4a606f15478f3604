"""The demo, from nothing to pictures, and window sizes that fit short music."""

import numpy as np
import pytest

import gruvlike as gl
from gruvlike import demo
from gruvlike.windows import choose_grid

pytestmark = pytest.mark.programs

FAST = ["--minutes", "0.02", "--units", "8"]


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_demo_makes_a_song_and_pictures_and_touches_nothing_that_exists(in_tmp, capsys):
    assert demo.main([*FAST, "--seconds", "5"]) == 0
    made = {path.name: path.read_bytes() for path in (in_tmp / "demo").iterdir()}
    assert set(made) == {
        "tune.wav", "corpus.h5", "run.keras", "seed.wav", "song.wav", "learning_curve.png", "seed_and_song.png",
        "listen.html",
    }  # fmt: skip
    song = gl.audio.read(in_tmp / "demo/song.wav", 16_000)
    assert song.size == 80_000
    assert np.isfinite(song).all()
    assert gl.load(in_tmp / "demo/run.keras").head.temperature == gl.recipes.get("music").head["temperature"]
    lines = capsys.readouterr().out.splitlines()
    assert all(name in lines[-3] for name in made if name not in ("tune.wav", "listen.html"))
    assert "room for 1 of 2 seeds" in lines[-2]
    assert lines[-1].startswith("demo/listen.html: songs beside real music, a blind test, measures.")
    page = made["listen.html"].decode()
    assert "python -m gruvlike.demo --minutes 0.02 --units 8 --seconds 5" in page
    assert page.count('data-kind="take"') == 3
    assert len(page) < 2e6
    assert any(line.startswith("Loss: training") and "repeating the last frame" in line for line in lines)
    assert any("% of the seed's" in line for line in lines)
    assert any(line.startswith("Pulse ") and "own rhythm" in line and "flux" in line for line in lines)


def test_demo_in_the_way_of_2015(in_tmp, capsys):
    (in_tmp / "demo").mkdir()
    (in_tmp / "demo/mine.txt").touch()
    gl.audio.write(in_tmp / "mine.wav", gl.tune.compose(8, 22_050), 22_050)
    assert demo.main([*FAST, "--recipe", "paper", "--music", "mine.wav", "--seconds", "1"]) == 0
    assert [path.name for path in (in_tmp / "demo").iterdir()] == ["mine.txt"]
    assert gl.audio.read(in_tmp / "demo-2/song.wav", 16_000).size == 16_000
    model = gl.load(in_tmp / "demo-2/run.keras")
    assert (type(model.encoder), type(model.head)) == (gl.BlockDFT, gl.heads.Point)
    out = capsys.readouterr().out
    assert "In demo-2/: song.wav" in out
    assert "The longest held-out piece has 2.4 s" in out
    assert "There are no measures. A report takes 4 s" in (in_tmp / "demo-2/listen.html").read_text("utf-8")


def test_music_that_is_too_short_or_absent_is_one_line_and_2(in_tmp, capsys):
    for seconds in (0.5, 8):
        gl.audio.write(in_tmp / f"{seconds}.wav", gl.tune.compose(seconds, 16_000), 16_000)
    assert demo.main(["--music", "0.5.wav", "--recipe", "paper"]) == 2
    assert "Training needs a track of at least 5000 samples" in capsys.readouterr().err
    assert demo.main(["--music", "8.wav"]) == 2
    assert "held-out music of 4 s for a seed. Received: 2.4 s, of 8.0 s in all." in capsys.readouterr().err
    assert demo.main(["--music", "nothing"]) == 2
    assert capsys.readouterr().err == "gruvlike: error: There is no music 'nothing'.\n"


def test_it_says_that_a_song_fades_only_where_it_does(in_tmp, capsys):
    seed = gl.tune.compose(6, 16_000)
    losses = {"relative_loss": [0.5], "val_relative_loss": [0.6]}
    for factor, fades in ((0.4, True), (0.9, False)):
        demo._report(in_tmp, 16_000, seed, factor * seed, losses, {})
        out = capsys.readouterr().out
        assert ("It fades." in out) == fades
        assert f"level (RMS) is {100 * factor:.0f} % of the seed's" in out
        pulse, flux = (gl.metrics.pulse(seed, 16_000), gl.metrics.flux(seed, 16_000))
        assert f"Pulse {pulse:.2f} (seed {pulse:.2f};" in out
        assert f"(seed {flux:.2f};" in out


@pytest.mark.parametrize("seconds", [0.9, 4, 60, 3000])
def test_grid_fits_the_music(seconds):
    encoder = gl.BlockDFT(block_size=1000)
    part = Part([round(seconds * 16_000)])
    grid = choose_grid((part, part), encoder)
    assert encoder.span(grid.steps + 1) <= len(part[0])
    assert 4 <= grid.steps <= 40
    assert 1000 <= grid.hop <= grid.steps * 1000
    assert grid.hop % 1000 == 0
    if seconds == 3000:  # enough music: no shortening, no overlap
        assert grid == (40, 40_000)


def test_grid_of_lapped_frames_fits():
    encoder = gl.MDCT(block_size=1000)
    part = Part([encoder.span(6)])
    assert choose_grid((part, part), encoder).steps == 5
    with pytest.raises(ValueError, match="Training needs"):
        choose_grid((part, Part([encoder.span(5) - 1])), encoder)


class Part(list):
    """Stands for a part of a corpus: tracks that have nothing but a length."""

    sample_rate = 16_000

    def __init__(self, lengths):
        super().__init__(range(length) for length in lengths)
