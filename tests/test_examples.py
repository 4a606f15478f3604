"""The notebooks and the scripts of README and design run, on a few seconds of sound."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

import gruvlike as gl

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
WITHOUT_OUTPUTS = {"01_first_song"}  # kept as it was written; the others as `make notebooks` leaves them


def script_of(text):
    """The first block of Python in a page."""
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def executed():
    """The function that `make notebooks` runs a notebook by."""
    spec = importlib.util.spec_from_file_location("execute", ROOT / "examples" / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.executed


def check_outputs(notebook):
    """A reader sees pictures and players, and each cell has run once, in its order, without an error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = [output.data for output in outputs if "data" in output]
    assert sum(not {"image/png", "image/jpeg"}.isdisjoint(data) for data in shown) >= 2
    assert any("<audio" in data.get("text/html", "") for data in shown)
    assert not [data for data in shown if data["text/plain"].startswith("<Figure") and len(data) == 1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, executed, tmp_path, monkeypatch):
    monkeypatch.setenv("GRUVLIKE_TINY", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = executed(path, tmp_path, timeout=300)
    assert list(tmp_path.glob("*/song.wav"))
    check_outputs(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_as_it_should_be(path):
    notebook = nbformat.read(path, as_version=4)
    if path.stem in WITHOUT_OUTPUTS:
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    else:
        check_outputs(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}  # no versions of the machine that ran it
    assert all(not cell.metadata for cell in notebook.cells)


SMALLER = {
    "README.md": {
        "16_000": "8000",
        "frame_size=1024, hop=256": "frame_size=256, hop=128",
        "PrincipalComponents(128)": "PrincipalComponents(8)",
        "units=(256, 256)": "units=(8, 8)",
        "steps=64": "steps=16",
        "validation=0.1": "validation=0.3",
        "epochs=20": "epochs=1",
        "seconds=30": "seconds=2",
    },
    "design.md": {
        "16_000": "8000",
        "block_size=4000": "block_size=200",
        "units=(300, 300, 300)": "units=(8, 8, 8)",
        "steps=40": "steps=10",
        "epochs=50": "epochs=1",
        "seconds=10,": "seconds=1,",
        "seconds=30": "seconds=2",
    },
}


def smaller_script(page, folder):
    """Returns the script of a page as written, but for sizes, and puts music into a folder for it."""
    script = script_of(page.read_text("utf-8"))
    for full, small in SMALLER[page.name].items():
        assert full in script
        script = script.replace(full, small)
    (folder / "music").mkdir()
    gl.audio.write(folder / "music/tune.wav", gl.tune.compose(32, 8000), 8000)
    return script


def test_readme_script_runs(tmp_path, monkeypatch, capsys):
    script = smaller_script(ROOT / "README.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(script, {"__name__": "__main__"})
    assert gl.audio.read("song.wav", 8000).size == 16_000
    assert "val_relative_loss" in capsys.readouterr().out


def test_the_script_of_the_design_still_runs(shared, tmp_path, monkeypatch):
    script = smaller_script(shared / "design.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    assert gl.audio.read(tmp_path / "song.wav", 8000).size == 16_000


@pytest.mark.parametrize("page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) if "://" not in t]
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing
