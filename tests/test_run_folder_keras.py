"""The run folder beside any callback of Keras: averages, numbers that come and go, room on the disk."""

import csv
import json
import os
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import _checks
from gruvlike.callbacks import _records, run_callbacks

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

RATE = 8000


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def make_model(optimizer="sgd"):
    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    start = keras.initializers.GlorotUniform(seed=5)
    layers = [keras.layers.Dense(4, kernel_initializer=start), keras.layers.Dense(50, kernel_initializer=start)]
    model = gl.AudioModel(encoder, normalizer, keras.Sequential([keras.Input((None, 50)), *layers]), RATE)
    model.compile(optimizer, run_eagerly=True)
    return model


def fit(parts, directory, epochs=1, extra=(), model=None, **options):
    model = model or make_model()
    windows = [part.windows(model.encoder, steps=6, batch_size=16) for part in parts]
    callbacks = [*extra, *run_callbacks(directory, **{"preview_every": 0, **options})]
    history = model.fit(windows[0], validation_data=windows[1], epochs=epochs, verbose=0, callbacks=callbacks)
    return model, history


def averaging():
    return make_model(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))


def weights(model):
    return [np.array(one) for one in model.get_weights()]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("swaps", [False, True])
def test_averaged_weights_over_an_interruption(parts, tmp_path, swaps):
    """Also where `SwapEMAWeights` has given up the weights themselves at the end of the first call."""

    def go(name, epochs):
        extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if swaps else []
        return weights(fit(parts, tmp_path / name, epochs, extra, averaging())[0])

    whole = go("whole", 2)
    first = go("run", 1)
    assert equal(go("run", 2), whole)
    assert not equal(first, whole)  # the control
    assert equal(weights(gl.load(tmp_path / "run/averaged.keras")), whole)
    assert not equal(weights(gl.load(tmp_path / "run/newest.keras")), whole)


def test_no_averages_no_file(parts, tmp_path):
    fit(parts, tmp_path)
    assert not (tmp_path / "averaged.keras").exists()


class Adds(keras.callbacks.Callback):
    """Adds a number to some epochs only."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch % 2:
            logs["val_now_and_then"] = 10.0 - epoch


def test_numbers_that_come_and_go(parts, tmp_path, caplog):
    """The table has one head, and each number its column, also over an interruption."""
    _, history = fit(parts, tmp_path / "whole", 4, [Adds()])
    for epochs in (1, 2, 4):
        fit(parts, tmp_path / "run", epochs, [Adds()])
    texts = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("whole", "run")]
    tables = [list(csv.DictReader(text)) for text in texts]
    assert tables[0] == tables[1]
    assert [row["val_now_and_then"] for row in tables[0]] == ["NA", "9.0", "NA", "7.0"]
    assert float(tables[0][3]["loss"]) == history.history["loss"][3]
    rows = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert [row.get("val_now_and_then") for row in rows] == [None, 9.0, None, 7.0]


def test_the_best_by_a_number_that_is_measured_now_and_then(parts, tmp_path, caplog):
    _, history = fit(parts, tmp_path, 6, [Adds()], monitor="val_now_and_then", patience=3)
    assert len(history.epoch) == 6  # three measurements, each better than the one before
    assert (tmp_path / "best.keras").exists()
    assert caplog.text.count("which is not among the numbers of epoch 1: loss, ") == 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras says that the number is not there
def test_stock_early_stopping_on_a_number_that_comes_and_goes(parts, tmp_path):
    stopping = keras.callbacks.EarlyStopping("val_now_and_then", patience=2, mode="min")
    _, history = fit(parts, tmp_path, 6, [Adds(), stopping])
    assert len(history.epoch) == 6


def test_texts_among_the_numbers_are_left_out():
    assert _records.numbers({"loss": np.float32(0.5), "note": "a text", "flag": True}) == {"loss": 0.5, "flag": 1.0}


STOCK = {
    "rates": lambda folder: [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10.0),
    ],
    "others": lambda folder: [
        keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(folder / "own.keras", save_best_only=True),
        keras.callbacks.CSVLogger(folder / "own.csv", append=True),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.History(),
    ],
}


@pytest.mark.parametrize("name", STOCK)
def test_a_run_beside_stock_callbacks_ends_as_if_never_interrupted(parts, tmp_path, name):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    whole, _ = fit(parts, tmp_path / "a/run", 3, STOCK[name](tmp_path / "a"))
    for epochs in (1, 3):
        again, _ = fit(parts, tmp_path / "b/run", epochs, STOCK[name](tmp_path / "b"))
    assert equal(weights(whole), weights(again))
    rates = [float(keras.ops.convert_to_numpy(one.optimizer.learning_rate)) for one in (whole, again)]
    assert rates[0] == rates[1]
    assert (rates[0] < 0.004) == (name == "rates")


def test_a_full_disk_is_seen_before_the_first_step(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"room for the checkpoints of the run, .* MB free under .*Make room"):
        fit(parts, tmp_path / "run")
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["lock"]
    monkeypatch.undo()
    fit(parts, tmp_path / "run")
    _checks.room(tmp_path, 1.0, "nothing")
    assert os.path.exists(tmp_path / "run/newest.keras")


def test_the_model_of_a_run_by_its_folder(parts, tmp_path):
    fit(parts, tmp_path, 2)
    (tmp_path / "best.keras").write_bytes((tmp_path / "previous.keras").read_bytes())
    assert equal(weights(gl.load(tmp_path)), weights(gl.load(tmp_path / "previous.keras")))
    (tmp_path / "best.keras").unlink()
    assert equal(weights(gl.load(tmp_path)), weights(gl.load(tmp_path / "newest.keras")))
    assert gl.Generator(tmp_path).sample_rate == RATE


def test_a_run_with_arrays_of_weighted_windows(parts, tmp_path):
    pcm = parts[0].windows(make_model().encoder, steps=6, batch_size=32, shuffle=False)[0][0]["pcm"]
    options = {"epochs": 1, "verbose": 0, "sample_weight": np.ones(len(pcm))}
    make_model().fit(pcm, callbacks=run_callbacks(tmp_path, preview_every=0), **options)
    with pytest.raises(ValueError, match=r"corpus.sample_weight was"):
        make_model().fit(
            pcm, callbacks=run_callbacks(tmp_path, preview_every=0), **{**options, "sample_weight": np.zeros(len(pcm))}
        )
