"""Mutated sound files of 26 formats: refused with their name, read, or read with a word; nothing else."""

import random

import pytest

pytest.importorskip("resource")  # the limits of the process that reads; Windows has none

import _sound_fuzz


def test_mutations_differ_and_are_repeatable():
    data = bytes(range(256)) * 100
    for kind in _sound_fuzz.KINDS:
        first, again, other = (_sound_fuzz.mutated(data, kind, random.Random(seed)) for seed in (1, 1, 2))
        assert first == again != data
        assert other != first or kind in ("front", "behind")


def test_faults_are_found(tmp_path):
    """The control: what the fuzz looks for is seen."""
    good = {"size": 48_000, "word": False, "seconds": 0.1, "megabytes": 100}
    path = tmp_path / "a.wav"
    assert _sound_fuzz.fault_of(good, 48_000, path) == ""
    assert "without a word" in _sound_fuzz.fault_of(good, 24_000, path)
    assert _sound_fuzz.fault_of({**good, "word": True}, 24_000, path) == ""
    assert "MB" in _sound_fuzz.fault_of({**good, "megabytes": 2000}, 48_000, path)
    assert "name" in _sound_fuzz.fault_of({"error": "damaged", "megabytes": 1}, 48_000, path)
    assert "ended with" in _sound_fuzz.fault_of({"fault": "the process ended with -11"}, 1, path)


@pytest.mark.parametrize(
    ("count", "seed"), [(104, 0), pytest.param(3000, 1, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_mutated_sounds(tmp_path, count, seed):
    pytest.importorskip("av")
    counts, found = _sound_fuzz.run(tmp_path, count, seed)
    assert found == []
    assert sum(counts.values()) == count
    assert min(counts.values()) > count / 20
