"""Watch over training: callbacks for `fit` beyond those of Keras."""

import time

import keras

from gruvlike import _checks


class TimeLimit(keras.callbacks.Callback):
    """Ends training after some minutes: the batch at hand is finished, and the epoch is validated as always.

    Give `fit` more epochs than the time can hold. A last, shortened epoch counts as one.

    Args:
        minutes: From the start of training, compilation included.

    Raises:
        ValueError: If `minutes` is not a positive number.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.zeros((64, 1))
        >>> history = model.fit(x, x, batch_size=1, epochs=10**6, verbose=0, callbacks=[TimeLimit(minutes=0.001)])
        >>> len(history.epoch) < 1000
        True
    """

    def __init__(self, minutes: float):
        super().__init__()
        self.minutes = _checks.number("minutes", minutes, 0, open_low=True)
        self._end = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._end = time.monotonic() + 60 * self.minutes

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stops training when the time is over."""
        if time.monotonic() >= self._end:
            self.model.stop_training = True
