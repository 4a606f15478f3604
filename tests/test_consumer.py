"""The script of a user with types runs; `make lint` has mypy check it."""

import runpy
from pathlib import Path

import numpy as np

import gruvlike as gl


def test_the_script_of_a_user_with_types_runs(tmp_path):
    gl.audio.write(tmp_path / "tune.wav", gl.tune.compose(seconds=2), 16_000)
    script = runpy.run_path(str(Path(__file__).with_name("consumer.py")))
    song = script["compose"](tmp_path, units=2, steps=4, epochs=1)
    assert song.shape == (1600,)
    assert np.isfinite(song).all()
