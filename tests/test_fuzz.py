"""Damaged sounds, corpora, models and run folders in great numbers: refused with their name, or taken; nothing else."""

import datetime
import random
import textwrap

import pytest

pytest.importorskip("resource")  # the limits of the process that tries; Windows has none

import _fuzz
import _fuzz_corpora
import _fuzz_models
import _fuzz_sounds

BAD = """
import os, time
TOLERANCE = 0
KINDS = ("good", "same", "named", "unnamed", "type", "crash", "hang", "memory", "length", "a word", "undeniable")
def seeds(folder):
    (folder / "seed.txt").write_text("good")
def change(seed, turn, random, path):
    path.write_text(KINDS[turn % len(KINDS)])
def attempt(path, folder):
    kind = path.read_text()
    if kind == "named":
        raise ValueError(f"damaged: {path}")
    if kind == "unnamed":
        raise OSError("damaged: some file")
    if kind == "type":
        raise KeyError("x")
    if kind == "crash":
        os.abort()
    if kind == "hang":
        time.sleep(60)
    if kind == "memory":
        bytes(range(256)) * (5 << 19)
    if kind == "a word":
        import logging
        logging.getLogger("x").warning("Not whole: %s", path)
    return {"size": 50 if kind in ("length", "a word", "undeniable") else 100}
def is_undeniable(before, after):
    return after.read_text() == "undeniable"
"""
EXPECTED = ["accepted", "accepted", "refused", *_fuzz.FAULTS, "accepted", "accepted"]


@pytest.fixture
def bad(tmp_path, monkeypatch):
    """A target with one file of each verdict."""
    (tmp_path / "_fuzz_bad.py").write_text(textwrap.dedent(BAD))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_fuzz, "MEGABYTES", 500)
    monkeypatch.setattr(_fuzz, "_PATIENCE", 5)
    return tmp_path


def test_each_fault_is_found(bad):
    """The control: all that the fuzz looks for is seen, and the files stay."""
    fuzz = _fuzz.Fuzz("bad", bad, workers=1)
    fuzz._worker().seconds = 1
    cases = [fuzz.try_one(number) for number in range(len(EXPECTED))]
    fuzz.close()
    assert [case.verdict for case in cases] == EXPECTED
    kept = {path.name for path in bad.glob("*-seed.txt")}
    assert kept == {case.name for case in cases if case.verdict in _fuzz.FAULTS}


def test_the_memory_of_earlier_files_is_not_that_of_a_later_one(bad):
    fuzz = _fuzz.Fuzz("bad", bad, workers=1)
    assert fuzz.try_one(7).verdict == "memory"
    assert fuzz._worker()(bad / "seeds" / "bad" / "seed.txt")["megabytes"] > _fuzz.MEGABYTES
    assert fuzz.try_one(0).verdict == "accepted"
    fuzz.close()


def test_a_fuzz_goes_on_from_its_last_number(bad, capsys):
    assert _fuzz.main(["bad", "--start", "0", "--count", "3", "--folder", str(bad / "a")]) == 0
    assert _fuzz.main(["bad", "--start", "3", "--count", "1", "--folder", str(bad / "a")]) == 1
    assert "3-seed.txt: unnamed: damaged: some file" in capsys.readouterr().out
    cases = _fuzz.for_minutes("bad", bad / "a", 0.0, 7)
    assert cases == []
    (bad / "a" / "bad.next").write_text("11")
    _fuzz.main(["bad", "--minutes", "0", "--folder", str(bad / "a")])
    assert "bad from number 11" in capsys.readouterr().out


def test_mutations_differ_and_are_repeatable():
    data = bytes(range(256)) * 100
    for kind in _fuzz_sounds.KINDS:
        first, again, other = (_fuzz_sounds.mutated(data, kind, random.Random(seed)) for seed in (1, 1, 2))
        assert first == again != data
        assert other != first or kind in ("front", "behind")
    text = b'{"a": [1, {"b": "c"}], "d": null}'
    for mutated in (_fuzz_corpora.mutated, lambda data, chance: _fuzz_models.with_bytes(data, False, chance)):
        first, again, other = (mutated(data, random.Random(seed)) for seed in (1, 1, 3))
        assert first == again != data
        assert other != first
    assert len({_fuzz_models.with_values(text, random.Random(seed)) for seed in range(50)}) > 25


def run(name, folder, numbers, go_on=lambda: True):
    """Tries files, and returns how many had which verdict."""
    cases = list(_fuzz.Fuzz(name, folder).cases(numbers, go_on))
    assert [case for case in cases if case.verdict in _fuzz.FAULTS] == []
    return {verdict: sum(case.verdict == verdict for case in cases) for verdict in _fuzz.GOOD}


def test_mutated_sounds(tmp_path):
    pytest.importorskip("av")
    counts = run("sounds", tmp_path, range(108))
    assert sum(counts.values()) == 108
    assert min(counts.values()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", _fuzz.TARGETS)
def test_two_minutes(name, tmp_path):
    """Each day tries other files. A file that was found is tried again by its number, which is part of its name."""
    pytest.importorskip("av")
    start = _fuzz.START + 100_000 * datetime.date.today().toordinal()
    cases = _fuzz.for_minutes(name, tmp_path, 2.0, start)
    assert [case for case in cases if case.verdict in _fuzz.FAULTS] == []
    assert min(sum(case.verdict == verdict for case in cases) for verdict in _fuzz.GOOD) > 2
