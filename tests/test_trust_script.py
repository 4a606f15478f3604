"""benchmarks/trust.py and benchmarks/sizes.py at small sizes: they go on where they stopped, and write their tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")
pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def trust(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench("_page"), "DOCS", tmp_path)
    (tmp_path / "trust.md").write_text("# Title\n\n<!-- fuzz: begin -->\n<!-- fuzz: end -->\n\nEnd.\n")
    return bench("trust")


def test_the_table_of_trust_is_written_and_goes_on(trust, tmp_path, monkeypatch, capsys):
    folder, tried = tmp_path / "found", []
    words = ["--corpora", "0", "--models", "0", "--runs", "0", "--folder", str(folder)]
    real = trust._fuzz.Fuzz.try_one
    monkeypatch.setattr(trust._fuzz.Fuzz, "try_one", lambda self, number: tried.append(number) or real(self, number))
    assert trust.main(["--sounds", "4", *words]) == 0
    (kept,) = folder.glob("*.jsonl")
    with kept.open("a") as file:
        file.write('[4, "cut by a ki')
    assert trust.main(["--sounds", "6", *words]) == 0
    assert sorted(tried) == [0, 1, 2, 3, 4, 5]
    text = (tmp_path / "trust.md").read_text()
    assert text.endswith("\nEnd.\n")
    assert "| sound files | 6 |" in text
    lines = [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("]")]
    verdict = lines[0].index(trust._fuzz.Case(*lines[0]).verdict)
    lines[0][verdict] = "hang"
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert trust.main(["--sounds", "6", *words]) == 1
    assert ": hang: " in capsys.readouterr().out
    monkeypatch.setattr(trust, "fingerprint", lambda name: "another version")
    assert trust.main(["--sounds", "1", *words]) == 0  # the figures of another version do not count
    assert tried[6:] == [0]


def test_sizes_are_measured(tmp_path):
    script = ROOT / "benchmarks" / "sizes.py"
    done = subprocess.run(
        [sys.executable, script, "--share", "0.0005", "--jobs", "files", "rf64", "file"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "5 tracks" in done.stdout
    assert done.stdout.count("to the sample") == 1
    assert done.stdout.count(" MB") >= 3
