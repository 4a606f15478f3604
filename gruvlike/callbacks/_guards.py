"""Guards: a clock, what is no number, the best model, music that nobody can learn from."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike.callbacks import _state

logger = logging.getLogger(__name__)


class TimeLimit(keras.callbacks.Callback):
    """Ends training after some minutes: the batch at hand is finished, and the epoch is validated as always.

    Give `fit` more epochs than the time can hold. A last, shortened epoch counts as one in the history; in a run folder
    it goes on where it ended.

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


class NaNGuard(keras.callbacks.Callback):
    """Stops training when something is no number, goes back to the last good weights, and says where in the music.

    It looks at the loss of each batch; and at the end of an epoch, and before a run folder saves, at the weights, at
    what the optimizer keeps and at the loss of validation. The last good weights, and what the optimizer kept then, are
    those of the end of the epoch before (at first, those that training began with). The stock
    `keras.callbacks.TerminateOnNaN` stops too, but leaves the weights spoiled and names no music.

    Attributes:
        reason: What happened, or `None`.

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
        self._good: list[tuple[Any, np.ndarray]] = []
        self._seen: list[tuple[Any, np.ndarray]] | None = None  # since the last batch
        self._epoch = self._batch = 0
        self._place = (0, 0)  # epoch and first batch of the windows: at the end of an epoch they have moved on

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Keeps the weights that training begins with."""
        self.reason = None
        self._good, self._seen = self._values(), None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Looks at the loss."""
        windows = getattr(self.model, "training_windows", None)
        self._seen = None
        self._batch, self._place = batch, (getattr(windows, "epoch", 0), getattr(windows, "first_batch", 0))
        loss = (logs or {}).get("loss", 0.0)
        if self.reason is None and not math.isfinite(loss):
            self._stop(f"The loss became {loss} in epoch {self._epoch + 1}, batch {batch + 1}", has_place=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the weights and at the loss of validation, and keeps the weights if all is well."""
        loss = (logs or {}).get("val_loss", 0.0)
        self._look()
        if self.reason is None and not math.isfinite(loss):
            self._stop(f"The validation loss became {loss} in epoch {epoch + 1}")
        if self.reason is None:
            self._good = self._seen

    def _look(self) -> None:
        """Looks, once after a batch, at the weights and at what the optimizer keeps; stops if they are no numbers."""
        if self._seen is not None:
            return
        self._seen = self._values()
        if self.reason is None and not all(np.isfinite(array).all() for _, array in self._seen):
            batch = f"batch {self._batch + 1} of epoch {self._epoch + 1}"
            self._stop(f"The weights, or what the optimizer keeps, became NaN or infinite by {batch}", has_place=True)

    def _values(self) -> list[tuple[Any, np.ndarray]]:
        variables = _state.variables(self.model)
        return list(zip(variables, _state.arrays_of(variables), strict=True))

    def _stop(self, what: str, has_place: bool = False) -> None:
        for variable, array in self._good:
            variable.assign(array)
        self.model.stop_training = True
        self.reason = (
            f"{what}{self._music() if has_place else ''}. "
            f"Training was stopped; the weights are those from before epoch {self._epoch + 1}. Use a lower learning "
            "rate; or, in another folder, clip the gradient (an optimizer given by name does) or leave out that music."
        )
        logger.error("%s", self.reason)

    def _music(self) -> str:
        """Where the windows of the batch come from, the one first that the good weights predict worst."""
        windows = getattr(self.model, "training_windows", None)
        if not hasattr(windows, "position"):
            return ""
        now = windows.epoch, windows.first_batch
        try:
            windows.epoch, windows.first_batch = self._place
            return self._worst(windows, self._batch - windows.first_batch)
        finally:
            windows.epoch, windows.first_batch = now

    def _worst(self, windows: Any, index: int) -> str:
        data = windows[index][0]
        pcm = data["pcm"] if isinstance(data, dict) else data
        prediction, target = (keras.ops.convert_to_numpy(part) for part in self.model(pcm, training=False))
        losses = np.square(target - prediction).mean((1, 2))
        order = np.argsort(-np.nan_to_num(losses, nan=np.inf, posinf=np.inf))
        places = [windows.position(index, int(row)) for row in order[:3]]
        said = [f"{track.name!r} from {start / track.sample_rate:.2f} s" for track, start in places]
        more = f" and {len(order) - 3} more windows" if len(order) > 3 else ""
        return f", with the music of {', '.join(said)}{more} (the worst predicted first)"


class BestModel(keras.callbacks.ModelCheckpoint):
    """Keeps the best model of a run: that of whole epochs, so that an interruption changes nothing.

    Until the first epoch is whole, a part of it is better than nothing. What is no number is never the best.
    """

    of_run = True

    def __init__(self, path: Path, monitor: str):
        super().__init__(path, monitor=monitor, mode="min", save_best_only=True)
        self._done = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Counts."""
        self._done = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves the model if it is the best."""
        if not math.isfinite((logs or {}).get(self.monitor, 0.0)):
            return
        is_part = self._done < (self.params["steps"] or 0)
        if is_part and self.best is not None:
            return
        super().on_epoch_end(epoch, logs)
        if is_part:
            self.best = None
