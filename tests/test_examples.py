"""The notebooks and the README's script run, on a few seconds of sound."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

import gruvlike as gl

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def script_of(text):
    """The first block of Python in a page."""
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GRUVLIKE_TINY", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert list(tmp_path.glob("*/song.wav"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_readme_script_is_that_of_the_design(shared):
    design = (shared / "design.md").read_text("utf-8")
    assert script_of((ROOT / "README.md").read_text("utf-8")) == script_of(design)


def test_readme_script_runs(tmp_path, monkeypatch, capsys):
    """As written, but for sizes: a minute of music would take minutes."""
    script = script_of((ROOT / "README.md").read_text("utf-8"))
    smaller = {
        "16_000": "8000",
        "block_size=4000": "block_size=200",
        "units=(300, 300, 300)": "units=(8, 8, 8)",
        "steps=40": "steps=10",
        "epochs=50": "epochs=1",
        "seconds=10,": "seconds=1,",
        "seconds=30": "seconds=2",
    }
    for full, small in smaller.items():
        assert full in script
        script = script.replace(full, small)
    (tmp_path / "music").mkdir()
    gl.audio.write(tmp_path / "music/tune.wav", gl.tune.compose(20, 8000), 8000)
    monkeypatch.chdir(tmp_path)
    exec(script, {"__name__": "__main__"})
    assert gl.audio.read("song.wav", 8000).size == 16_000
    assert "val_relative_loss" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) if "://" not in t]
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing
