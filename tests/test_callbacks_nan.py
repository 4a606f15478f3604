"""Weights that an update spoils without a loss that shows it: nothing that is kept is spoiled."""

import math

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike.callbacks import NaNGuard, run_callbacks

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

RATE = 8000


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nan")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    corpus = gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE)
    return corpus.split(validation=0.4, gap_seconds=0.1)


def make_model():
    keras.utils.set_random_seed(0)
    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    stack = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(50)])
    model = gl.AudioModel(encoder, normalizer, stack, RATE)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    return model


def fit(parts, model, callbacks, epochs=3, batch_size=100):
    sizes = {"steps": 8, "batch_size": batch_size, "shuffle": False, "offset": 0}
    train, held_out = (part.windows(model.encoder, **sizes) for part in parts)
    return model.fit(train, validation_data=held_out, epochs=epochs, verbose=0, callbacks=callbacks)


class Update(keras.callbacks.Callback):
    """Spoils the weights, or only the state of the optimizer, after a batch, as a bad update would."""

    def __init__(self, batch, what="weights"):
        super().__init__()
        self.left, self.what = batch, what

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            variables = self.model.trainable_variables
            if self.what == "moments":
                variables = [v for v in self.model.optimizer.variables if tuple(v.shape) == (50, 50)]
            variables[0].assign(np.full((50, 50), np.nan, "float32"))


def state_of(model):
    variables = [*model.trainable_variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("what", "epoch"),
    [
        ("moments", 1),
        ("weights", 2),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in [("weights", 1), ("moments", 2)]),
    ],
)
def test_nan_by_the_only_update_of_an_epoch(parts, tmp_path, what, epoch):
    """No loss of a batch shows it. Weights and optimizer go back, and no file of the run is spoiled."""
    model, whole = make_model(), make_model()
    before = state_of(model)
    if epoch == 2:
        fit(parts, whole, [], epochs=1)
        before = state_of(whole)
    callbacks = run_callbacks(tmp_path, preview_every=0)
    history = fit(parts, model, [*callbacks, Update(epoch, what)])
    assert len(history.epoch) == epoch
    assert f"by batch 1 of epoch {epoch}, with the music of 'a.wav' from " in callbacks[0].reason
    assert same(state_of(model), before)
    for path in tmp_path.glob("*.keras"):
        assert np.isfinite(np.concatenate([w.ravel() for w in gl.load(path).get_weights()])).all(), path
    again = make_model()
    history = fit(parts, again, run_callbacks(tmp_path, preview_every=0))
    assert np.isfinite(history.history["val_loss"]).all()
    assert (tmp_path / "best.keras").exists()
    best = min(history.history["val_loss"])
    held_out = parts[1].windows(again.encoder, steps=8, shuffle=False, offset=0)
    found = gl.load(tmp_path / "best.keras").evaluate(held_out, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(best, rel=1e-4)


def test_nan_before_a_save_within_an_epoch(parts, tmp_path):
    """Weights are checked before they are saved."""
    callbacks = run_callbacks(tmp_path, preview_every=0, save_minutes=1e-9)
    fit(parts, make_model(), [*callbacks, Update(2)], batch_size=4)
    assert "became NaN or infinite by batch 2 of epoch 1, with the music of" in callbacks[0].reason
    assert "lower learning rate; or, in another folder, clip the gradient" in callbacks[0].reason
    for path in tmp_path.glob("*.keras"):
        assert np.isfinite(np.concatenate([w.ravel() for w in gl.load(path).get_weights()])).all(), path


def test_a_validation_loss_that_is_no_number(parts, tmp_path):
    class Spoiled(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                logs["val_loss"] = math.nan

    model, whole = make_model(), make_model()
    fit(parts, whole, [], epochs=1)
    guard = NaNGuard()
    history = fit(parts, model, [Spoiled(), guard])
    assert guard.reason.startswith("The validation loss became nan in epoch 2. Training was stopped")
    assert len(history.epoch) == 2
    assert same(state_of(model), state_of(whole))
