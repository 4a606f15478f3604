import time

import keras
import numpy as np
import pytest

from gruvlike.callbacks import TimeLimit

pytestmark = pytest.mark.backends


def fit(callbacks, epochs):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((50, 1), "float32")
    return model.fit(x, x, batch_size=1, epochs=epochs, verbose=0, validation_data=(x, x), callbacks=callbacks)


class Batches(keras.callbacks.Callback):
    seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        time.sleep(0.01)


def test_stops_within_an_epoch_and_still_validates():
    batches = Batches()
    history = fit([batches, TimeLimit(0.05 / 60)], epochs=10**6)
    assert batches.seen < 50
    assert len(history.history["val_loss"]) == 1


def test_a_long_limit_changes_nothing():
    batches = Batches()
    assert len(fit([batches, TimeLimit(5)], epochs=2).epoch) == 2
    assert batches.seen == 100


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), "2"])
def test_bad_minutes(minutes):
    with pytest.raises(ValueError, match="`minutes` must be"):
        TimeLimit(minutes)
