"""`import gruvlike, keras` in either order registers the classes that saved models are made of."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(code, *paths):
    search = ":".join(map(str, (*paths, ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": search, "PATH": ""},
        timeout=120,
    )


@pytest.fixture
def fakes(tmp_path):
    """A `keras` that takes no time, and a module that notices when it is imported."""
    (tmp_path / "keras.py").write_text("ready = False\nimport json\nready = True\n")
    (tmp_path / "registers.py").write_text("import keras\nassert keras.ready\nprint('registered')\n")
    return tmp_path


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import keras; print('after')", "registered\nafter\n"),
        ("import gruvlike.tune, keras; print('after')", "registered\nafter\n"),
        ("import gruvlike.tune; print('after')", "after\n"),  # the control: no Keras, nothing to register
        ("import keras, importlib; importlib.reload(keras); print('after')", "registered\nafter\n"),
    ],
)
def test_classes_are_registered_when_keras_comes(fakes, code, said):
    found = run(f"import gruvlike; gruvlike._REGISTERS = 'registers'; {code}", fakes)
    assert (found.stdout, found.stderr, found.returncode) == (said, "", 0)


def test_keras_is_imported_also_where_ours_cannot_be(fakes):
    (fakes / "registers.py").write_text("raise RuntimeError('broken')\n")
    found = run("import gruvlike; gruvlike._REGISTERS = 'registers'; import keras; print('after')", fakes)
    assert (found.stdout, found.stderr) == ("after\n", "")


def test_a_module_keeps_its_own_loader(fakes):
    code = "import inspect, gruvlike.tune as t; print(type(t.__loader__).__name__, len(inspect.getsource(t)) > 0)"
    assert run(code, fakes).stdout == "SourceFileLoader True\n"


@pytest.mark.programs
@pytest.mark.parametrize("first", ["gruvlike", "keras", "gruvlike.heads"])
def test_the_real_ones(first):
    names = "[name for name in keras.saving.get_custom_objects() if 'gruvlike>' in name]"
    found = run(f"import {first}, gruvlike, keras; print(len({names}))")
    assert int(found.stdout) >= 20, found.stderr
