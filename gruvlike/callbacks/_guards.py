"""Guards of a training: a time limit, a stop at NaN, the best model."""

import copy
import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import HoldsWindows, StopsForAReason, WindowsLike
from gruvlike.callbacks import _state
from gruvlike.callbacks._songs import SONG_DISTANCE

logger = logging.getLogger(__name__)


class TimeLimit(keras.callbacks.Callback):
    """Ends training after some minutes: the batch at hand is finished, and the epoch is validated as always.

    Give `fit` more epochs than the time can hold. A last, shortened epoch counts as one in the history; in a run folder
    the next `fit` trains the rest of it.

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

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._end = time.monotonic() + 60 * self.minutes

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stops training when the time is over."""
        if time.monotonic() >= self._end:
            self.model.stop_training = True


class NaNGuard(keras.callbacks.Callback):
    """Stops training at a NaN or an infinity, restores the last good weights, and says where in the music it was.

    The loss is checked after each batch. The weights, the optimizer's variables and the loss of validation are checked
    at the end of an epoch, and before a run folder saves. The last good weights, and the optimizer's variables beside
    them, are those of the end of the epoch before (at first, those that training began with). The stock
    `keras.callbacks.TerminateOnNaN` stops too, but leaves the weights spoiled and names no music.

    Attributes:
        reason: The reason why training was stopped, or `None`.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
        >>> model.compile("adam")
        >>> guard = NaNGuard()
        >>> history = model.fit(music[None, :88], verbose=0, callbacks=[guard])
        >>> print(guard.reason)
        None
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None
        self._good: list[tuple[keras.Variable, np.ndarray]] = []
        self._checked: list[tuple[keras.Variable, np.ndarray]] | None = None  # the values since the last batch
        self._epoch = self._batch = 0
        # The windows here are a copy, because at the end of an epoch the windows move to the next one.
        self._windows: WindowsLike | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Keeps the weights that training begins with."""
        self.reason = None
        self._good, self._checked = self._values(), None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the epoch, and where its windows are."""
        windows = self.model.training_windows if isinstance(self.model, HoldsWindows) else None
        self._epoch, self._windows = epoch, copy.copy(windows) if isinstance(windows, WindowsLike) else None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Checks the loss."""
        self._batch, self._checked = batch, None
        loss = (logs or {}).get("loss", 0.0)
        if self.reason is None and not math.isfinite(loss):
            self._stop(f"The loss became {loss} in epoch {self._epoch + 1}, batch {batch + 1}", has_place=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Checks the weights and the loss of validation, and keeps the weights if all are finite."""
        loss = (logs or {}).get("val_loss", 0.0)
        values = self._check_weights()
        if self.reason is None and not math.isfinite(loss):
            self._stop(f"The validation loss became {loss} in epoch {epoch + 1}")
        if self.reason is None:
            self._good = values

    def _check_weights(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Checks the weights and the optimizer's variables, once after a batch, and returns their values."""
        if self._checked is None:
            self._checked = self._values()
            if self.reason is None and not all(np.isfinite(array).all() for _, array in self._checked):
                batch = f"batch {self._batch + 1} of epoch {self._epoch + 1}"
                self._stop(
                    f"The weights, or what the optimizer keeps, became NaN or infinite by {batch}", has_place=True
                )
        return self._checked

    def _values(self) -> list[tuple[keras.Variable, np.ndarray]]:
        variables = _state.variables(self.model)
        return list(zip(variables, _state.arrays_of(variables), strict=True))

    def _stop(self, event: str, has_place: bool = False) -> None:
        for variable, array in self._good:
            variable.assign(array)
        self.model.stop_training = True
        self.reason = (
            f"{event}{self._name_music() if has_place else ''}. "
            f"Training was stopped; the weights are those from before epoch {self._epoch + 1}. Use a lower learning "
            "rate; or, in another folder, clip the gradient (an optimizer given by name does) or leave out that music."
        )
        logger.error("%s", self.reason)

    def _name_music(self) -> str:
        """Names the windows of the batch, the one first that the good weights predict worst."""
        windows = self._windows
        if windows is None:
            return ""
        index = self._batch - windows.first_batch
        losses = self.model.frame_losses(windows[index][0]).mean(1)
        order = np.argsort(-np.nan_to_num(losses, nan=np.inf, posinf=np.inf))
        places = [windows.position(index, int(row)) for row in order[:3]]
        names = ", ".join(f"{track.name!r} from {start / track.sample_rate:.2f} s" for track, start in places)
        more = f" and {len(order) - 3} more windows" if len(order) > 3 else ""
        return f", with the music of {names}{more} (the worst predicted first)"


def has_failed(callbacks: Iterable[keras.callbacks.Callback]) -> bool:
    """Lets each `NaNGuard` check the weights, and returns whether any callback has a reason to end the run."""
    found = list(callbacks)
    for callback in found:
        if isinstance(callback, NaNGuard):
            callback._check_weights()
    return any(isinstance(callback, StopsForAReason) and bool(callback.reason) for callback in found)


class BestModel(keras.callbacks.ModelCheckpoint):
    """Keeps the best model of a run: of its whole epochs, so that an interruption changes nothing.

    Until the first epoch is whole, the model of a part of it is kept. Where songs are the number, a part of an epoch
    counts like a whole one: there is one at the end, where the learning rate is least. An epoch whose number is NaN,
    because the loss is or because nothing was measured in it, is never saved as best.

    Args:
        path: The file.
        monitor: Name of the number in the logs of which the best model has least.
    """

    best: float | None  # Keras sets it

    def __init__(self, path: Path, monitor: str):
        super().__init__(path, monitor=monitor, mode="min", save_best_only=True)
        self._done = 0
        self._is_missed = False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the batches of the epoch."""
        self._done = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves the model if it is the best."""
        if self.monitor not in (logs or {}) and not self._is_missed:
            self._is_missed = True
            logger.warning(
                "The best model is chosen by %r, which is not among the numbers of epoch %d: %s. No model is kept as "
                "the best until it is there.",
                self.monitor,
                epoch + 1,
                ", ".join(logs or {}),
            )
        if not math.isfinite((logs or {}).get(self.monitor, math.nan)):
            return
        is_part = self._done < (self.params["steps"] or 0) and self.monitor != SONG_DISTANCE
        if is_part and self.best is not None:
            return
        super().on_epoch_end(epoch, logs)
        if is_part:
            self.best = None


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Early stopping by a number that is not measured in each epoch: an epoch where it is NaN does not count.

    So `patience` counts measurements. The state of a run knows it by the name of Keras's class.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compares the number with the best one, if it was measured."""
        if not math.isnan((logs or {}).get(self.monitor, math.nan)):
            super().on_epoch_end(epoch, logs)
