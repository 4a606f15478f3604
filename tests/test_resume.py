"""Going on after an interruption gives the weights of a run that was never interrupted, to the last bit."""

import os
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike.callbacks import run_callbacks

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

BATCHES = 8  # an epoch


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, 8000), 8000)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=8000).split(validation=0.3)


def make_model(units=8, block_size=50, random_seed=0, recurrent_dropout=0.0):
    encoder = gl.BlockDFT(block_size)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, 8000), encoder)
    stack = gl.recurrent_stack(encoder.features, units=(units,), dropout=0.2, input_noise=0.1, random_seed=random_seed)
    if recurrent_dropout:
        keras.utils.set_random_seed(0)
        recurrent = keras.layers.GRU(units, return_sequences=True, recurrent_dropout=recurrent_dropout, seed=2)
        stack = keras.Sequential(
            [keras.Input((None, encoder.features)), recurrent, keras.layers.Dense(encoder.features)]
        )
    model = gl.AudioModel(encoder, normalizer, stack, 8000, scheduled_sampling=0.3, random_seed=1)
    model.compile("adam", metrics=["mae"])
    return model


def fit(parts, directory, epochs, extra=(), model=None, stateful=False, **options):
    model = model or make_model()
    sizes = {"steps": 6, "batch_size": 4}
    order = {"stateful": True, "shuffle": False, "offset": 0} if stateful else {"random_seed": 3, "hop": 500}
    deciding = [
        keras.callbacks.EarlyStopping("val_loss", patience=3, mode="min"),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0, mode="min"),
    ]
    run = [] if directory is None else run_callbacks(directory, preview_every=0, **options)
    history = model.fit(
        parts[0].windows(model.encoder, **sizes, **order),
        validation_data=parts[1].windows(model.encoder, **sizes, shuffle=False),
        epochs=epochs,
        verbose=0,
        callbacks=[*run, *deciding, *extra],
    )
    return SimpleNamespace(model=model, history=history, values=values(model), stopping=deciding[0])


def values(model):
    """Weights, random states and optimizer."""
    found = [*model.variables, *model.optimizer.variables]
    found = [v for v in found if not any(v is metric for metric in model.metrics_variables)]
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in found]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.values, other.values, strict=True))


@pytest.fixture(scope="module")
def undisturbed(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run = fit(parts, folder, 4)
    run.files = {name: (folder / name).read_text() for name in ("history.csv",)}
    return run


class At(keras.callbacks.Callback):
    """Does something after a batch, counted over all epochs."""

    def __init__(self, batch, action):
        super().__init__()
        self.left, self.action = batch, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_two_and_two_epochs_are_four(parts, undisturbed, tmp_path):
    first = fit(parts, tmp_path, 2)
    assert not same(first, undisturbed)  # the control
    second = fit(parts, tmp_path, 4)
    assert same(second, undisturbed)
    assert second.history.history == undisturbed.history.history
    assert second.history.epoch == [0, 1, 2, 3]
    assert second.stopping.best == undisturbed.stopping.best
    assert second.stopping.wait == undisturbed.stopping.wait
    assert (tmp_path / "history.csv").read_text() == undisturbed.files["history.csv"]
    again = fit(parts, tmp_path, 4)  # nothing left to do
    assert same(again, undisturbed)
    assert again.history.history == undisturbed.history.history


def test_the_epochs_are_as_long_as_these_tests_think(parts):
    assert len(parts[0].windows(make_model().encoder, steps=6, batch_size=4, hop=500)) == BATCHES


def test_the_learning_rate_was_lowered_on_the_way(undisturbed):
    rates = undisturbed.history.history["learning_rate"]
    assert rates[0] > rates[-1]


def test_ctrl_c_within_an_epoch(parts, undisturbed, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="in epoch 2, after batch 2"):
        fit(parts, tmp_path, 4, [At(BATCHES + 2, ctrl_c)])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run = fit(parts, tmp_path, 4)
    assert same(run, undisturbed)
    assert run.history.history == undisturbed.history.history


class Begun(keras.callbacks.Callback):
    """Counts the epochs that have begun."""

    count = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.count += 1

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


@pytest.mark.slow
def test_what_happens_at_the_beginning_of_an_epoch_happens_once(parts, tmp_path):
    """A schedule of the learning rate, a callback that counts, recurrent dropout."""

    def train(directory, epochs=3, at=()):
        begun = Begun()
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        run = fit(parts, directory, epochs, [begun, schedule, *at], make_model(recurrent_dropout=0.3))
        return run, begun.count

    whole, count = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="in epoch 2, after batch 2"):
        train(tmp_path / "run", at=[At(BATCHES + 2, ctrl_c)])
    run, counted = train(tmp_path / "run")
    assert run.history.history["learning_rate"] == whole.history.history["learning_rate"]
    assert same(run, whole)
    assert counted == count == 3


@pytest.mark.slow
def test_the_best_weights_come_back(parts, tmp_path):
    def train(directory, epochs):
        worse = keras.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
        return fit(parts, directory, epochs, [worse])  # the first epoch counts as the best, because the loss falls

    whole = train(tmp_path / "whole", 3)
    assert not same(fit(parts, tmp_path / "last", 3), whole)  # the control
    train(tmp_path / "run", 2)
    run = train(tmp_path / "run", 3)
    assert all(np.array_equal(a, b) for a, b in zip(run.model.get_weights(), whole.model.get_weights(), strict=True))


@pytest.mark.slow
def test_stateful_windows_within_an_epoch(parts, tmp_path):
    whole = fit(parts, tmp_path / "whole", 3, stateful=True)
    with pytest.raises(KeyboardInterrupt):
        fit(parts, tmp_path / "run", 3, [At(4, ctrl_c)], stateful=True)
    assert same(fit(parts, tmp_path / "run", 3, stateful=True), whole)


@pytest.mark.slow
def test_without_a_run_folder_the_weights_are_the_same(parts, undisturbed):
    assert same(fit(parts, None, 4), undisturbed)
