"""A learning rate that falls while training runs under a time limit."""

import math
import time

import keras

from gruvlike import _checks
from gruvlike.callbacks import _state

_EVERY = 8  # batches: setting a variable has a price


class CosineOverTime(keras.callbacks.Callback):
    """Lowers the learning rate along half a cosine while the minutes of a training pass, after a short warm-up.

    A schedule of Keras counts updates, and how many fit into some minutes is not known beforehand. The optimizer must
    have a plain number as its learning rate: that is the highest.

    Args:
        minutes: After which the rate is lowest.
        warm_up: Updates in which it rises from near 0.
        floor: The lowest rate over the highest.

    Raises:
        ValueError: If an argument is out of its range, or the optimizer has a schedule of its own.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.5), "mse")
        >>> x = np.zeros((16, 1))
        >>> _ = model.fit(x, x, batch_size=1, verbose=0, callbacks=[CosineOverTime(minutes=60, warm_up=32)])
        >>> 0 < float(model.optimizer.learning_rate) < 0.5
        True

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017 (the cosine).
    """

    def __init__(self, minutes: float, warm_up: int = 50, floor: float = 0.03):
        super().__init__()
        self.minutes = _checks.number("minutes", minutes, 0, open_low=True)
        self.warm_up = _checks.positive_int("warm_up", warm_up)
        self.floor = _checks.number("floor", floor, 0, 1)
        self._start, self._highest, self._before, self._updates = 0.0, 0.0, 0.0, 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Notes the highest rate, and starts the clock where an earlier part of the run left it."""
        rate = self.model.optimizer.get_config()["learning_rate"]
        if isinstance(rate, dict):  # Keras writes a schedule as a dictionary
            raise ValueError(
                "The learning rate must be a number, which is lowered over time. Received: an optimizer with a "
                f"{rate.get('class_name', 'schedule')}. Leave one of the two out."
            )
        self._highest = self._highest or _state.learning_rate(self.model.optimizer)
        self._start = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the rate, now and then."""
        self._updates += 1
        if self._updates % _EVERY and self._updates > self.warm_up:
            return
        done = min(1.0, self._elapsed() / (60 * self.minutes))
        share = self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
        if keras.backend.backend() == "jax":  # there the numbers of a training step are kept beside the variables
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = self._highest * share * min(1.0, self._updates / self.warm_up)

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._start

    def get_state(self) -> dict[str, float]:
        """Returns the time and the updates so far, and the highest rate, for a run folder.

        Example:
            >>> sorted(CosineOverTime(minutes=5).get_state())
            ['highest', 'seconds', 'updates']
        """
        return {"seconds": self._elapsed(), "updates": self._updates, "highest": self._highest}

    def set_state(self, state: dict[str, float]) -> None:
        """Goes on from `get_state`'s dictionary.

        Example:
            >>> CosineOverTime(minutes=5).set_state({"seconds": 60.0, "updates": 500, "highest": 2e-3})
        """
        self._before, self._updates = float(state["seconds"]), int(state["updates"])
        self._highest, self._start = float(state["highest"]), time.monotonic()
