"""The script behind docs/sound.md."""

import argparse
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


TOLD = "+ noise of a level that is told, a stronger leash"
CHOSEN = "+ the best of four draws of each moment"


def test_each_system_has_one_part_more_than_the_one_before(script):
    ladder = [system for name, system in script.LADDER.items() if not name.startswith(("2015", "real"))]
    for before, after in itertools.pairwise(ladder):
        if after is script.LADDER[TOLD]:
            continue  # its name says that it differs by two
        old, new = vars(before.recipe), vars(after.recipe)
        fields = [name for name, value in new.items() if value != old[name]]
        options = {name for field in fields for name, value in new[field].items() if value != old[field][name]}
        assert len(options) + sum(one != other for one, other in zip(before[1:], after[1:], strict=True)) == 1


def test_the_recipe_that_makes_music_is_a_system(script):
    recipe, leash, choices, grains = script.LADDER[CHOSEN]
    music = gl.recipes.get("music")
    for field in ("encoder", "normalizer", "head", "network", "conditions", "windows"):
        given, wanted = (getattr(one, field) for one in (recipe, music))
        assert {**given, "residual": None} == {**wanted, "residual": None}  # which a mixture has anyway
    assert (leash, choices) == (0.6, 4)  # the defaults of `extend` for a network with conditions
    assert not grains


def test_openings_are_of_music_that_is_neither_trained_on_nor_the_reference(script, tmp_path):
    (tmp_path / "music").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 220 * 1000)
    gl.audio.write(tmp_path / "music" / "noise.wav", noise, 1000)
    gl.audio.write(tmp_path / "music" / "short.wav", np.zeros(10_000), 1000)
    script.cut(tmp_path / "music", tmp_path / "out", None)
    parts = {
        one: gl.audio.read(tmp_path / "out" / one / "noise.wav", RATE).size for one in ("train", "seeds", "reference")
    }
    assert sum(parts.values()) == 220 * RATE
    openings = sorted((tmp_path / "out" / "openings").iterdir())
    assert len(openings) == script.OPENINGS
    assert {gl.audio.read(path, RATE).size for path in openings} == {8 * RATE}
    assert not (tmp_path / "out" / "train" / "short.wav").exists()
    script.follow(tmp_path / "out", tmp_path / "real")
    later = [gl.audio.read(tmp_path / "out" / one / "noise.wav", RATE) for one in ("seeds", "reference")]
    for path in openings[:3]:
        opening, rest = (gl.audio.read(one, RATE) for one in (path, tmp_path / "real" / path.name))
        assert len(rest) == script.SONG * RATE
        assert np.concatenate([opening, rest]).tobytes() in np.concatenate(later).tobytes()


def test_a_row_shows_the_yardstick_where_there_is_one(script, tmp_path):
    tune = gl.tune.compose(34, RATE)
    for place, samples in (("songs", tune[8 * RATE : 32 * RATE]), ("openings", tune[: 8 * RATE])):
        (tmp_path / place).mkdir()
        gl.audio.write(tmp_path / place / "00-tune.wav", samples, RATE)
    gl.Corpus.build(tmp_path / "songs", tmp_path / "train.h5", sample_rate=RATE)
    row = {
        "system": "a",
        "random seed": 0,
        "training": 1.0,
        "processor": 1.0,
        "updates": 5,
        **script.own(tmp_path / "songs", tmp_path),
    }
    assert row["own rhythm"] > 0.5  # the same tune goes on
    assert row["copy of the corpus"] > 0.99  # these songs are the corpus
    assert len(script.columns(row)) == len(script.HEADER)
    yardstick = {"fad": 20.0, "fad_late": 21.0, "pulse": 0.6, "repetition": 0.4, "energy": [0, 1, 2], "tick": 1.0}
    row["yardstick"] = {**yardstick, "rhythm": {"own": 0.8, "nearest": 0.7, "last": 0.6}}
    assert script.columns(json.loads(json.dumps(row)))[3:6] == ["20.0", "21.0", "0.60"]


def test_songs_to_listen_to_and_their_picture(script, tmp_path, monkeypatch):
    tune = gl.tune.compose(34, RATE)
    for number in range(6):
        for folder, start in (("real", 0), ("songs", number)):
            (tmp_path / folder).mkdir(exist_ok=True)
            gl.audio.write(tmp_path / folder / f"{number:02}-tune.wav", tune[start * RATE : (start + 9) * RATE], RATE)
    files = script.listen(tmp_path / "songs", tmp_path / "real", RATE, tmp_path / "images" / "songs.jpg")
    assert [file.name for file in files] == [f"songs-{k:02}-tune.opus" for k in (0, 1, 3, 5)]
    assert {len(gl.audio.read(file, RATE)) for file in files} == {9 * RATE}
    assert 10_000 < (tmp_path / "images" / "songs.jpg").stat().st_size < 400_000


def test_the_table_has_all_finished_systems_in_the_order_of_the_ladder(script, tmp_path):
    options = argparse.Namespace(seconds=script.SONG)
    for name, seed in ((CHOSEN, 1), ("real music", 0), (TOLD, 0), (CHOSEN, 0)):
        songs = script.folder(name, seed, tmp_path, options)
        (tmp_path / f"{songs.name}.json").write_text(json.dumps({"system": name, "random seed": seed}))
    found = [(row["system"], row["random seed"]) for row in script.known(tmp_path, options)]
    assert found == [(TOLD, 0), (CHOSEN, 0), (CHOSEN, 1), ("real music", 0)]
    assert script.known(tmp_path, argparse.Namespace(seconds=600.0)) == []
