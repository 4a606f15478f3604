"""The script behind the figures of docs/training.md."""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gruvlike as gl

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "training.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, with an empty folder of its own for pages."""
    spec = importlib.util.spec_from_file_location("training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DOCS", tmp_path)
    monkeypatch.setattr(sys.modules["_page"], "DOCS", tmp_path)
    return module


def run(script, monkeypatch, folder, *words):
    monkeypatch.setattr(sys, "argv", ["training.py", "--out", str(folder), *words])
    script.main()


def put_rows(folder, names, cores=1):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        row = {"cores": cores, "validation": 0.5 + number, "epochs": 7, "free": {"1": 0.6, "10": 0.7}}
        (folder / f"{name.replace(' ', '-')}-0.json").write_text(json.dumps(row))


def test_the_table_waits_for_the_rows_of_other_processes(script, monkeypatch, tmp_path, capsys):
    rows, names = tmp_path / "out/options/4-minutes", list(script.OPTIONS)
    words = ("options", "no-music-is-needed", "--seeds=1", "--only", *names[:2])
    put_rows(rows, names[:2])
    run(script, monkeypatch, tmp_path / "out", *words)
    said = capsys.readouterr().out
    assert all(name in said for name in names[2:])
    assert names[0] not in said
    assert not (tmp_path / "training.md").exists()
    put_rows(rows, names)
    run(script, monkeypatch, tmp_path / "out", *words)
    page = (tmp_path / "training.md").read_text()
    assert f"| {names[3]} | 1 | 7 | 3.500 (3.500 to 3.500) | 0.600 (0.600 to 0.600) | 0.700 (" in page
    assert "trained on 1 core each" in page
    put_rows(rows, names[:1], cores=2)
    run(script, monkeypatch, tmp_path / "out", *words)
    assert "trained on 1 or 2 cores each" in (tmp_path / "training.md").read_text()


def test_rows_of_other_minutes_do_not_count(script, monkeypatch, tmp_path):
    put_rows(tmp_path / "out/options/4-minutes", script.OPTIONS)
    with pytest.raises(FileNotFoundError):  # it has to train, which needs the music
        run(script, monkeypatch, tmp_path / "out", "options", str(tmp_path / "none"), "--seeds=1", "--minutes=3")


def test_an_interrupted_run_begins_anew_and_one_at_work_is_left_alone(script, tmp_path):
    (tmp_path / "row").mkdir()
    (tmp_path / "row/newest.keras").touch()
    with script._anew(tmp_path / "row.json") as folder:
        assert folder == tmp_path / "row"
        assert not folder.exists()
        folder.mkdir()
        with pytest.raises(BlockingIOError, match="is being trained"), script._anew(tmp_path / "row.json"):
            pass
        assert folder.exists()


def test_a_second_process_waits_for_the_corpus(script, monkeypatch, tmp_path):
    gl.audio.write(tmp_path / "a.wav", gl.tune.compose(2), script.RATE)
    build, refused = gl.Corpus.build, []

    def refuse_once(*args, **kwargs):
        if not refused:
            refused.append(1)
            raise BlockingIOError
        return build(*args, **kwargs)

    monkeypatch.setattr(gl.Corpus, "build", refuse_once)
    corpus = script._corpus(tmp_path / "a.wav", tmp_path)
    assert refused
    assert corpus.sample_rate == script.RATE
    assert len(script._corpus("nowhere", tmp_path)) == 1  # built once


@pytest.mark.parametrize(("code", "is_alive"), [("import time; print('epoch 1', flush=True); time.sleep(60)", True),
                                                ("print('epoch 1')", False)])  # fmt: skip
def test_only_kills_of_a_process_at_work_count(script, monkeypatch, tmp_path, code, is_alive):
    def start(words, until):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        if not is_alive:
            process.wait()
        return process

    monkeypatch.setattr(script, "_start", start)
    if is_alive:
        rows = script._kill([str(tmp_path / "run")], 2, 0.1)
        assert [(row[0], row[-1]) for row in rows] == [(1, "epoch 0"), (2, "epoch 0")]
    else:
        with pytest.raises(SystemExit, match="ended before kill 1"):
            script._kill([str(tmp_path / "run")], 2, 0.1)


def test_the_cost_of_callbacks_is_told_for_an_epoch_of_a_minute(script):
    times = {False: [20.0, 20.0], True: [21.0, 22.0]}
    text = script._overhead_text(2, 50, 1000, times, {"Fast": [0.2, 0.0], "Slow": [0.0, 1.2]})
    assert "| `Fast` | 300 ms | 0 ms | 0.50 % |" in text  # 0.1 s in 20 s are 0.3 s in a minute
    assert "| `Slow` | 0 ms | 600 ms | 1.00 % |" in text
    assert "| **all together** | 300 ms | 600 ms | 1.50 % |" in text
    assert "21.5 s (21.0 to 22.0) with, 20.0 s (20.0 to 20.0) without" in text
    assert "1500 ms an epoch, 7.5 %" in text
    assert "counted in the same epochs is 700 ms" in text


def test_each_option_changes_the_recipe(script):
    recipes = [script.RECIPE.change(**changes) for changes in script.OPTIONS.values()]
    assert recipes[0] == script.RECIPE
    assert all(recipe != script.RECIPE for recipe in recipes[1:])


@pytest.mark.slow
def test_overhead_is_measured(script, monkeypatch, tmp_path):
    options = argparse.Namespace(out=tmp_path, seconds=150.0, hop=20_000, epochs=2)
    monkeypatch.setattr(script, "RECIPE", script.RECIPE.change(network={"units": (4,)}))
    script.overhead(options)
    page = (tmp_path / "training.md").read_text()
    assert "`RunFolder`" in page
    assert "`AudioPreview`" in page
    assert list((tmp_path / "overhead/run/previews").glob("epoch-0002-*.wav"))
