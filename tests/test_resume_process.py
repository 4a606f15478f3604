"""A real `gruvlike train` that is killed, or gets Ctrl-C, and is started again."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import cli

pytestmark = pytest.mark.programs

OPTIONS = ["--recipe", "paper", "--block-size", "100", "--units", "8", "--steps", "10", "--batch-size", "32",
           "--dropout", "0.2", "--input-noise", "0.1", "--validation", "0.3"]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    gl.audio.write(folder / "a.wav", gl.tune.compose(30, 8000), 8000)  # room for previews
    gl.Corpus.build(folder, folder / "music.h5", sample_rate=8000)
    return folder / "music.h5"


ENDLESS = 1_000_000  # epochs
EPOCH = r"^epoch +\d"  # a line of progress


def words(corpus, directory, epochs, preview_every=2):
    options = [*OPTIONS, "--epochs", str(epochs), "--preview-every", str(preview_every)]
    return ["train", str(corpus), str(directory), *options]


def start(words, until="parameters"):
    """Starts the process and waits until it says that it is about to train, or that an epoch is over."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gruvlike", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if re.search(until, line):
            return process
    raise AssertionError(process.communicate()[1])


def end(process, number):
    process.send_signal(number)
    output, errors = process.communicate(timeout=600)
    return output, errors


def saved(directory):
    """All that a run can go on with: weights, optimizer, random states; and where it is."""
    names = [directory / f"{name}.keras" for name in ("newest", "previous")]
    newest = next(name for name in names if name.exists())  # a kill can come between the two moves that change them
    with zipfile.ZipFile(newest) as archive:
        with archive.open("training.npz") as file, np.load(file) as stored:
            arrays = [stored[name] for name in stored.files]
        return [*weights(newest), *arrays], json.loads(archive.read("training.json"))


def weights(file):
    arrays = []
    with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as member, h5py.File(member) as h5:
        h5.visititems(lambda name, one: arrays.append(np.array(one)) if isinstance(one, h5py.Dataset) else None)
    return arrays


def previews(directory):
    return {path.name: path.read_bytes() for path in directory.glob("previews/*") if path.suffix in (".wav", ".csv")}


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def assert_same_end(directory, undisturbed):
    (one, about), (other, expected) = saved(directory), saved(undisturbed)
    assert same(one, other)
    assert about["checksum"] == expected["checksum"]
    assert (about["progress"]["epoch"], about["progress"]["batch"]) == (expected["progress"]["epoch"], 0)
    assert same(weights(directory / "best.keras"), weights(undisturbed / "best.keras"))
    assert (directory / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    assert any(name.endswith(".wav") for name in previews(undisturbed))
    assert previews(directory) == previews(undisturbed)


def wait_for(file, seconds=600):
    until = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert file.exists()


@pytest.mark.usefixtures("plain_curves")
def test_kill_once(corpus, tmp_path):
    process = start(words(corpus, tmp_path / "run", ENDLESS), until=EPOCH)
    time.sleep(random.uniform(0, 1))
    end(process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    reached = saved(tmp_path / "run")[1]["progress"]["epoch"]
    epochs = max(reached + 2, 3)
    assert cli.main(words(corpus, tmp_path / "run", epochs)) == 0
    assert cli.main(words(corpus, tmp_path / "undisturbed", epochs)) == 0
    assert_same_end(tmp_path / "run", tmp_path / "undisturbed")
    names = ("newest.keras", "previous.keras")
    assert not same(*[weights(tmp_path / "run" / name) for name in names])  # the control: an epoch makes a difference


@pytest.mark.slow
def test_kill_twenty_times(corpus, tmp_path):
    """One kill in five hits a process that starts, the others one that trains, saves, or makes a preview."""
    run, undisturbed, every = tmp_path / "run", tmp_path / "undisturbed", 10
    for number in range(20):
        process = start(words(corpus, run, ENDLESS, every), until="parameters" if number % 5 == 0 else EPOCH)
        time.sleep(random.uniform(0, 4))
        end(process, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    epochs = saved(run)[1]["progress"]["epoch"] + 2 * every
    assert cli.main(words(corpus, run, epochs, every)) == 0
    assert cli.main(words(corpus, undisturbed, epochs, every)) == 0
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_ctrl_c_says_where_it_goes_on_and_ends_with_130(corpus, tmp_path):
    process = start(words(corpus, tmp_path / "run", ENDLESS))
    wait_for(tmp_path / "run/previous.keras")
    _, errors = end(process, signal.SIGINT)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted. The same script goes on with" in errors
    assert gl.load(tmp_path / "run/newest.keras").sample_rate == 8000


class Crash(keras.callbacks.Callback):
    """Raises after a batch of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 3):
            raise RuntimeError("the power went")


class Forget(keras.callbacks.Callback):
    """Lets the state that is carried be lost."""

    def on_train_begin(self, logs=None):
        for state in self.model.get_layer("carried_states").variables:
            state.assign(keras.ops.zeros_like(state))


def train_stateful(corpus, directory, extra=()):
    """Two epochs of a network that reads whole tracks."""
    encoder = gl.TimeBlocks(100)
    stack = gl.recurrent_stack(encoder.features, units=(8,), dropout=0.2, random_seed=0)
    model = gl.AudioModel(encoder, gl.GlobalScale().fit(corpus, encoder), stack, corpus.sample_rate)
    model.compile("adam")
    windows = corpus.windows(encoder, steps=10, batch_size=32, stateful=True, shuffle=False, offset=0)
    run = gl.callbacks.run_callbacks(directory, preview_every=0, save_minutes=1e-6)  # saves after each batch
    model.fit(windows, epochs=2, verbose=0, callbacks=[*run, *extra])
    return model.get_weights()


@pytest.mark.slow
def test_a_stateful_run_goes_on_within_an_epoch_after_a_crash(corpus, tmp_path):
    music = gl.Corpus(corpus)
    whole = train_stateful(music, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="the power went"):
        train_stateful(music, tmp_path / "run", [Crash()])
    progress = saved(tmp_path / "run")[1]["progress"]
    assert progress["epoch"] == 1
    assert progress["batch"] > 0  # in the middle of the tracks, where the state is not zero
    shutil.copytree(tmp_path / "run", tmp_path / "control")
    assert same(train_stateful(music, tmp_path / "run"), whole)
    assert not same(train_stateful(music, tmp_path / "control", [Forget()]), whole)
