"""The script behind docs/sound.md."""

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import gruvlike as gl

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "sound.py"
RATE = 16_000


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sound", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


def test_each_system_has_one_part_more_than_the_one_before(script):
    ladder = list(script.LADDER.values())[1:]
    for (before, leash), (after, next_leash) in itertools.pairwise(ladder[:-1]):
        fields = [name for name, value in vars(after).items() if value != vars(before)[name]]
        options = {name for field in fields for name, value in getattr(after, field).items()
                   if value != getattr(before, field)[name]}  # fmt: skip
        assert len(options) + (leash != next_leash) == 1


def test_the_last_system_is_the_recipe_that_makes_music(script):
    recipe, leash = list(script.LADDER.values())[-1]
    music = gl.recipes.get("music")
    for field in ("encoder", "normalizer", "head", "network", "conditions", "windows"):
        given, wanted = (getattr(one, field) for one in (recipe, music))
        assert {**given, "residual": None} == {**wanted, "residual": None}  # which a mixture has anyway
    assert leash == 0.6  # the default of `extend` for a network with conditions


def test_openings_are_of_music_that_is_neither_trained_on_nor_the_reference(script, tmp_path):
    (tmp_path / "music").mkdir()
    gl.audio.write(tmp_path / "music" / "ramp.wav", np.linspace(-0.5, 0.5, 220 * 1000), 1000)
    gl.audio.write(tmp_path / "music" / "short.wav", np.zeros(10_000), 1000)
    script.cut(tmp_path / "music", tmp_path / "out", None)
    parts = {
        one: gl.audio.read(tmp_path / "out" / one / "ramp.wav", RATE).size for one in ("train", "seeds", "reference")
    }
    assert sum(parts.values()) == 220 * RATE
    openings = sorted((tmp_path / "out" / "openings").iterdir())
    assert len(openings) == script.OPENINGS
    assert {gl.audio.read(path, RATE).size for path in openings} == {8 * RATE}
    assert not (tmp_path / "out" / "train" / "short.wav").exists()


def test_a_row_shows_the_yardstick_where_there_is_one(script, tmp_path):
    tune = gl.tune.compose(34, RATE)
    for place, samples in (("songs", tune[8 * RATE : 32 * RATE]), ("openings", tune[: 8 * RATE])):
        (tmp_path / place).mkdir()
        gl.audio.write(tmp_path / place / "00-tune.wav", samples, RATE)
    row = {"system": "a", "random seed": 0, "training": 1.0, "updates": 5, **script.own(tmp_path / "songs", tmp_path)}
    assert row["own rhythm"] > 0.5  # the same tune goes on
    assert len(script.columns(row)) == len(script.HEADER)
    yardstick = {"fad": 20.0, "fad_late": 21.0, "pulse": 0.6, "repetition": 0.4, "energy": [0, 1, 2], "tick": 1.0}
    row["yardstick"] = {**yardstick, "rhythm": {"own": 0.8, "nearest": 0.7, "last": 0.6}}
    assert script.columns(json.loads(json.dumps(row)))[3:6] == ["20.0", "21.0", "0.60"]
