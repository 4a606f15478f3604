"""A real `gruvlike train` that is killed, or gets Ctrl-C, and is started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import cli

OPTIONS = ["--block-size", "100", "--units", "8", "--steps", "5", "--dropout", "0.2", "--input-noise", "0.1",
           "--validation", "0.3", "--preview-every", "5"]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    gl.audio.write(folder / "a.wav", gl.tune.compose(8, 8000), 8000)
    gl.Corpus.build(folder, folder / "music.h5", sample_rate=8000)
    return folder / "music.h5"


def words(corpus, directory, epochs):
    return ["train", str(corpus), str(directory), *OPTIONS, "--epochs", str(epochs)]


def start(corpus, directory, epochs):
    """Starts the process and waits until it is about to train."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gruvlike", *words(corpus, directory, epochs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if "parameters" in line:
            return process
    raise AssertionError(process.communicate()[1])


def end(process, number):
    process.send_signal(number)
    output, errors = process.communicate(timeout=600)
    return output, errors


def saved(directory):
    """All that a run ends with: weights, optimizer, random states; and where it is."""
    with zipfile.ZipFile(directory / "newest.keras") as archive:
        with archive.open("model.weights.h5") as file, h5py.File(file) as h5:
            arrays = []
            h5.visititems(lambda name, one: arrays.append(np.array(one)) if isinstance(one, h5py.Dataset) else None)
        with archive.open("training.npz") as file, np.load(file) as stored:
            arrays += [stored[name] for name in stored.files]
        return arrays, json.loads(archive.read("training.json"))


def assert_same_end(directory, undisturbed):
    (one, about), (other, expected) = saved(directory), saved(undisturbed)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert about["checksum"] == expected["checksum"]
    assert (about["progress"]["epoch"], about["progress"]["batch"]) == (expected["progress"]["epoch"], 0)
    assert (directory / "history.csv").read_text() == (undisturbed / "history.csv").read_text()


def wait_for(file, seconds=600):
    until = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert file.exists()


def test_kill_once(corpus, tmp_path):
    process = start(corpus, tmp_path / "run", 30)
    wait_for(tmp_path / "run/previous.keras")  # at least one epoch is over
    time.sleep(random.uniform(0, 1))
    end(process, signal.SIGKILL)
    reached = saved(tmp_path / "run")[1]["progress"]["epoch"]
    epochs = reached + 3
    assert cli.main(words(corpus, tmp_path / "run", epochs)) == 0
    assert cli.main(words(corpus, tmp_path / "undisturbed", epochs)) == 0
    assert_same_end(tmp_path / "run", tmp_path / "undisturbed")


@pytest.mark.slow
def test_kill_twenty_times(corpus, tmp_path):
    epochs = 150
    for _ in range(20):
        process = start(corpus, tmp_path / "run", epochs)
        time.sleep(random.uniform(0, 6))
        end(process, signal.SIGKILL)
    assert cli.main(words(corpus, tmp_path / "run", epochs)) == 0
    assert cli.main(words(corpus, tmp_path / "undisturbed", epochs)) == 0
    assert_same_end(tmp_path / "run", tmp_path / "undisturbed")


def test_ctrl_c_says_where_it_goes_on_and_ends_with_130(corpus, tmp_path):
    process = start(corpus, tmp_path / "run", 10_000)
    wait_for(tmp_path / "run/previous.keras")
    _, errors = end(process, signal.SIGINT)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted. The same script goes on with" in errors
    assert gl.load(tmp_path / "run/newest.keras").sample_rate == 8000
