"""The run folder: its files, and the runs that it refuses."""

import errno
import json
import os
import shutil
import signal
import time

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import _files
from gruvlike.callbacks import _run, run_callbacks

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

RATE = 8000


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def make_model(units=4, block_size=50, optimizer="sgd"):
    encoder = gl.TimeBlocks(block_size)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    keras.utils.set_random_seed(0)
    start = keras.initializers.GlorotUniform(seed=5)
    layers = [keras.layers.Dense(units, kernel_initializer=start), keras.layers.Dense(encoder.features)]
    stack = keras.Sequential([keras.Input((None, encoder.features)), *layers])
    model = gl.AudioModel(encoder, normalizer, stack, RATE, random_seed=7)
    model.compile(optimizer, run_eagerly=True)  # for models this small, compiling takes longer than training
    return model


def fit(parts, directory, epochs=1, extra=(), model=None, validation=True, steps=6, batch_size=16, **options):
    model = model or make_model()
    held_out = parts[1].windows(model.encoder, steps=steps, shuffle=False, offset=0) if validation else None
    options = {"preview_every": 0, **options}
    return model.fit(
        parts[0].windows(model.encoder, steps=steps, batch_size=batch_size),
        validation_data=held_out,
        epochs=epochs,
        verbose=0,
        callbacks=[*run_callbacks(directory, **options), *extra],
    )


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    """A run of two epochs; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("run") / "deep" / "er"
    fit(parts, folder, 2, notes={"why": "a test"}, test=parts[1])
    return folder


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_what_is_in_the_folder(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {"newest.keras", "previous.keras", "best.keras", "config.json", "history.csv", "history.jsonl"}
    assert "learning_curve.png" in names
    assert not [name for name in names if name.startswith(".")]
    config = json.loads((run / "config.json").read_text())
    assert config["versions"]["keras"] == keras.__version__
    assert config["random_seed"] == {"windows": 0, "model": 7, "network": [5]}
    assert config["notes"] == {"why": "a test"}
    assert config["encoder"]["config"]["block_size"] == 50
    train, validation, test = (config["parts"][name][0] for name in ("train", "validation", "test"))
    assert train["stop"] < validation["start"] == test["start"]
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert len((run / "history.csv").read_text().splitlines()) == 3
    for name in ("newest", "previous", "best"):
        assert gl.load(run / f"{name}.keras").sample_rate == RATE


def test_without_validation_the_best_is_that_of_training(parts, tmp_path):
    fit(parts, tmp_path, validation=False)
    assert (tmp_path / "best.keras").exists()


def test_a_share_of_the_arrays_is_validation_music(parts, tmp_path):
    model = make_model()
    pcm = parts[0].windows(model.encoder, steps=6, batch_size=50, shuffle=False)[0][0]["pcm"]
    options = {"epochs": 2, "validation_split": 0.5, "verbose": 0}
    callbacks = run_callbacks(tmp_path, preview_every=0, patience=5)
    best = next(one for one in callbacks if isinstance(one, keras.callbacks.ModelCheckpoint))
    history = model.fit(pcm, callbacks=callbacks, **options).history
    assert best.best == min(history["val_loss"]) != min(history["loss"])
    with pytest.raises(ValueError, match=r"validation.split was 0.5 and is 0.25"):
        make_model().fit(
            pcm, callbacks=run_callbacks(tmp_path, preview_every=0), **{**options, "validation_split": 0.25}
        )


class Reached(keras.callbacks.Callback):
    """Spoils or mends the loss of validation after an epoch, so that it is known which is the best."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]


class Stop(keras.callbacks.Callback):
    """As `TimeLimit` does, after a batch of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.model.stop_training = True


def weights(path):
    return [np.array(w) for w in gl.load(path).get_weights()]


@pytest.mark.slow
def test_the_best_is_that_of_whole_epochs(parts, tmp_path):
    """A part of an epoch seems better than all: going on, the best is that of a run without an interruption."""

    def train(directory, losses, extra=()):
        callbacks = [Reached(losses), *run_callbacks(directory, preview_every=0), *extra]
        model = make_model()
        sizes = {"steps": 6, "batch_size": 4}
        held_out = parts[1].windows(model.encoder, **sizes, shuffle=False, offset=0)
        model.fit(parts[0].windows(model.encoder, **sizes), validation_data=held_out, epochs=3, verbose=0,
                  callbacks=callbacks)  # fmt: skip

    losses = [0.5, 0.9, 0.7]
    train(tmp_path / "whole", losses)
    train(tmp_path / "run", [0.5, 0.1], [Stop(1, 1)])
    train(tmp_path / "run", losses)
    pairs = zip(weights(tmp_path / "run/best.keras"), weights(tmp_path / "whole/best.keras"), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    train(tmp_path / "short", [0.1], [Stop(0, 1)])
    begun = weights(tmp_path / "short/best.keras")  # better than none
    train(tmp_path / "short", losses)
    best = weights(tmp_path / "short/best.keras")
    whole = weights(tmp_path / "whole/best.keras")
    assert all(np.array_equal(a, b) for a, b in zip(best, whole, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(best, begun, strict=True))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": {"units": 5}}, r"network.layers\[1\].units was 4 and is 5"),
        ({"model": {"block_size": 40}}, "encoder.block_size was 50 and is 40"),
        ({"model": {"optimizer": "adam"}}, "optimizer"),
        ({"steps": 5}, "windows.span was 350 and is 300"),
        ({"swap": True}, "corpus.*hash was"),
    ],
)
def test_another_run_is_refused(parts, run, change, what):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    model = make_model(**change.get("model", {}))
    with pytest.raises(ValueError, match=rf"A run goes on with.*{what}"):
        fit(parts[::-1] if "swap" in change else parts, run, 3, model=model, steps=change.get("steps", 6))
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_another_learning_rate_counts_from_here_on(parts, copied, caplog):
    caplog.set_level("INFO", "gruvlike")
    model = make_model()
    model.optimizer.learning_rate = 0.001
    fit(parts, copied, 3, model=model)
    assert "The learning rate is 0.001 now. It was 0.01." in caplog.text
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)
    fit(parts, copied, 4)  # the first script again, which is a change, too
    assert "The learning rate is 0.01 now. It was 0.001." in caplog.text


def test_a_checkpoint_cut_short(parts, copied, caplog):
    newest = copied / "newest.keras"
    newest.write_bytes(newest.read_bytes()[:-2000])
    history = fit(parts, copied, 2)
    assert "The newest checkpoint is damaged" in caplog.text
    assert "previous.keras" in caplog.text
    assert history.epoch == [0, 1]


def test_a_good_previous_survives_a_damaged_newest(parts, copied):
    """Whatever stops the run after its next save, there is a whole checkpoint left beside it."""
    newest, previous = copied / "newest.keras", copied / "previous.keras"
    good = previous.read_bytes()
    newest.write_bytes(newest.read_bytes()[:-2000])
    with pytest.raises(RuntimeError, match="lights"):
        fit(parts, copied, 2, [Strike(epoch=1)])
    assert previous.read_bytes() == good
    fit(parts, copied, 2)
    before = newest.read_bytes()
    fit(parts, copied, 3)
    assert previous.read_bytes() == before


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(parts, tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append((name, *args)), real(*args))[1])
    fit(parts, tmp_path)
    ends = [k for k, call in enumerate(calls) if call[0] == "replace" and str(call[2]).endswith("newest.keras")]
    assert ends
    assert all("fsync" in [name for name, *_ in calls[max(0, k - 2) : k]] for k in ends)


def test_statistics_of_another_machine(parts, copied, caplog):
    """Another processor sums in another order: the run goes on with its own. Those of other music are refused."""
    caplog.set_level("INFO", "gruvlike")
    kept = weights(copied / "newest.keras")
    model = make_model()
    statistic = model.normalizer.weights[0]
    own = np.array(keras.ops.convert_to_numpy(statistic.value))
    statistic.assign(own * (1 + 1e-6))
    fit(parts, copied, 2, model=model)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept, strict=True))
    model = make_model()
    model.normalizer.weights[0].assign(own * 1.01)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"A run goes on with.*the normalizer's statistics are others"):
        fit(parts, copied, 3, model=model)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.slow
def test_long_epochs_are_all_saved(parts, tmp_path, monkeypatch):
    """Only where epochs are short does saving wait for its share of the time."""
    kept = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: kept.append(
            ((tmp_path / "newest.keras").stat().st_mtime_ns, (tmp_path / "learning_curve.png").exists())
        )
    )
    monkeypatch.setattr(_run, "_SHARE", 1e-9)
    fit(parts, tmp_path, 3, [look])
    assert len({time for time, _ in kept}) == 1  # the control
    kept.clear()
    monkeypatch.setattr(_run, "_BRIEF", 0.0)
    (tmp_path / "learning_curve.png").unlink()
    fit(parts, tmp_path, 6, [look])
    assert len({time for time, _ in kept}) == 3
    assert [drawn for _, drawn in kept] == [False, True, True]


def test_a_folder_that_was_moved(parts, copied, run):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    fit(parts, copied, 3)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert (copied / "best.keras").read_bytes() != before["best.keras"]


def test_a_checkpoint_with_a_flipped_bit(parts, copied, caplog):
    newest = copied / "newest.keras"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    fit(parts, copied, 2)
    assert "The newest checkpoint is damaged" in caplog.text


def test_no_whole_checkpoint(parts, copied):
    for name in ("newest", "previous"):
        (copied / f"{name}.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="A run goes on from a whole checkpoint"):
        fit(parts, copied, 3)


def test_a_model_that_is_no_checkpoint(parts, tmp_path):
    make_model().save(tmp_path / "newest.keras")
    with pytest.raises(ValueError, match="a model without the state of its training"):
        fit(parts, tmp_path)


@pytest.mark.parametrize("name", ["history.csv", "history.jsonl"])
def test_a_corrupt_history(parts, copied, run, caplog, name):
    (copied / name).write_bytes(b"\xff\x00nonsense")
    fit(parts, copied, 2)
    assert f"{name}' is not what this run wrote" in caplog.text
    assert (copied / name).read_bytes() == (run / name).read_bytes()


def test_a_history_that_is_ahead_is_cut_in_silence(parts, copied, run, caplog):
    with open(copied / "history.jsonl", "a") as file:
        file.write('{"epoch": 2, "loss": 0.5}\n{"epo')
    fit(parts, copied, 2)
    assert "is not what" not in caplog.text
    assert (copied / "history.jsonl").read_bytes() == (run / "history.jsonl").read_bytes()


def test_a_folder_that_is_a_file(parts, tmp_path):
    (tmp_path / "run").write_text("a file")
    for path in (tmp_path / "run", tmp_path / "run" / "a"):
        with pytest.raises(NotADirectoryError, match="A run is kept in a folder"):
            fit(parts, path)


def test_a_folder_that_cannot_be_written(parts, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(PermissionError, match="The run folder must be writable"):
        fit(parts, tmp_path / "run")


def test_one_process_at_a_time(parts, copied):
    before = (copied / "newest.keras").read_bytes()
    with (
        _files.locked(copied / "lock", "mine"),
        pytest.raises(BlockingIOError, match=r"one process at a time. Received: .*run.*give another folder"),
    ):
        fit(parts, copied, 3)
    assert (copied / "newest.keras").read_bytes() == before
    assert fit(parts, copied, 3).epoch == [0, 1, 2]


def test_a_full_disk(parts, copied, monkeypatch, caplog):
    """Training stops with the error; the run is whole, and goes on when there is room."""
    caplog.set_level("INFO", "gruvlike")
    before = (copied / "newest.keras").read_bytes()

    def full(self, path, **_):
        with open(path, "wb") as file:
            file.write(b"PK half a model")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(gl.AudioModel, "save", full)
        with pytest.raises(OSError, match="No space left"):
            fit(parts, copied, 3)
    assert "after epoch 2" in caplog.text
    assert (copied / "newest.keras").read_bytes() == before
    assert not list(copied.glob(".*"))
    assert fit(parts, copied, 3).epoch == [0, 1, 2]


class Strike(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("the lights went out")


def values(model):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in [*model.weights, *model.optimizer.variables]]


@pytest.mark.parametrize("error", [RuntimeError("the lights went out"), KeyboardInterrupt()])
def test_a_callback_that_raises(parts, tmp_path, error):
    """A second Ctrl-C comes out like this, too."""

    def strike(batch, logs):
        if batch == 1:
            raise error

    whole, broken, gone_on = (make_model() for _ in range(3))
    fit(parts, tmp_path / "whole", 2, model=whole)
    striking = keras.callbacks.LambdaCallback(on_train_batch_end=strike)
    with pytest.raises(type(error)):
        fit(parts, tmp_path / "run", 2, [striking], model=broken)
    assert not list((tmp_path / "run").glob(".*"))
    fit(parts, tmp_path / "run", 2, model=gone_on)
    assert all(np.array_equal(a, b) for a, b in zip(values(gone_on), values(whole), strict=True))


def test_ctrl_c_twice(parts, tmp_path):
    """The first one waits for the end of the batch; the second does not, and the handler is as it was afterwards."""

    def twice(batch, logs):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    striking = keras.callbacks.LambdaCallback(on_train_batch_end=twice)
    with pytest.raises(KeyboardInterrupt) as stop:
        fit(parts, tmp_path, 2, [striking])
    assert "goes on" not in str(stop.value)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fit(parts, tmp_path, 2).epoch == [0, 1]


@pytest.mark.parametrize("when", ["on_test_batch_end", "on_train_batch_end"])
def test_ctrl_c_at_the_end_of_an_epoch_says_what_it_waits_for(parts, tmp_path, caplog, when):
    caplog.set_level("INFO", "gruvlike")

    batches = len(parts[0].windows(make_model().encoder, steps=6, batch_size=16))

    def strike(batch, logs):
        if when == "on_test_batch_end" or batch == batches - 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="after epoch 1"):
        fit(parts, tmp_path, 2, [keras.callbacks.LambdaCallback(**{when: strike})])
    assert "Stopping when this epoch is validated and saved. Ctrl-C again stops at once." in caplog.text


def test_another_early_stopping_begins_anew(parts, tmp_path):
    """A state goes back to the callback that watches the same."""
    mine = {"monitor": "val_loss", "patience": 9, "mode": "min"}
    fit(parts, tmp_path, 2, [keras.callbacks.EarlyStopping("loss", patience=9, mode="min"),
                             first := keras.callbacks.EarlyStopping(**mine)])  # fmt: skip
    second = keras.callbacks.EarlyStopping(**mine)
    third = keras.callbacks.EarlyStopping("val_relative_loss", patience=9, mode="min")
    fit(parts, tmp_path, 2, [third, second])
    assert second.best == first.best
    assert third.best is None


def test_early_stopping_ends_a_run_for_good(parts, tmp_path, caplog):
    caplog.set_level("INFO", "gruvlike")
    model = make_model()
    model.optimizer.learning_rate = 0.0
    first = fit(parts, tmp_path, 50, patience=2, model=model)
    assert first.epoch == [0, 1, 2]
    model = make_model()
    model.optimizer.learning_rate = 0.0
    again = fit(parts, tmp_path, 50, patience=2, model=model)
    assert again.epoch == [] or again.epoch == first.epoch
    assert again.history == first.history
    assert "Early stopping ended this run after epoch 3" in caplog.text


def test_what_a_run_cannot_do(parts, tmp_path):
    model = make_model()
    windows = parts[0].windows(model.encoder, steps=6)
    with pytest.raises(ValueError, match="whole epochs"):
        model.fit(windows, steps_per_epoch=1, verbose=0, callbacks=run_callbacks(tmp_path))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ValueError, match="BackupAndRestore"):
        model.fit(windows, verbose=0, callbacks=[*run_callbacks(tmp_path), backup])
    plain = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"belongs to `AudioModel.fit`"):
        plain.fit(np.zeros((2, 1)), np.zeros((2, 1)), verbose=0, callbacks=run_callbacks(tmp_path)[-1:])


def test_small_music(parts, tmp_path):
    """A batch larger than the corpus is one smaller batch; music shorter than a window is refused before anything."""
    history = fit(parts, tmp_path, steps=100)
    assert np.isfinite(history.history["loss"]).all()
    with pytest.raises(ValueError, match="No window of steps=1000 fits"):
        fit(parts, tmp_path / "none", steps=1000)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("options", [{"patience": 0}, {"preview_every": -1}, {"save_minutes": 0}])
def test_bad_options(tmp_path, options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        run_callbacks(tmp_path, **options)
