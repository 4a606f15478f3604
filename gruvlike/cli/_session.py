"""The training of `gruvlike train` and of the demo: under a clock, with a line an epoch."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gruvlike.callbacks import CosineOverTime, TimeLimit
from gruvlike.callbacks._summary import free_running
from gruvlike.cli._console import say

if TYPE_CHECKING:
    from gruvlike.models import AudioModel
    from gruvlike.windows import Windows

_EPOCHS = 1_000_000  # no clock allows so many
_History = dict[str, list[float]]


class Budget(NamedTuple):
    """How long to train.

    Attributes:
        epochs: Times through the music; `None` for as many as the minutes allow.
        minutes: Time; `None` for no limit.
        decay: Whether the learning rate falls over the minutes.
    """

    epochs: int | None = None
    minutes: float | None = None
    decay: bool = False


def train(
    model: "AudioModel", windows: "Windows", validation: "Windows | None", file: Path, budget: Budget
) -> _History:
    """Trains `model` and keeps the newest state in `file`: after an epoch, at the end, and at Ctrl-C.

    Returns:
        The history: name -> one value an epoch.

    Raises:
        KeyboardInterrupt: With a message that names the saved file.
    """
    try:
        return fit(model, windows, validation, [_Newest(file)], budget)
    except KeyboardInterrupt:
        model.save(file)
        raise KeyboardInterrupt(f"The model as trained so far is in {file}.") from None


def fit(
    model: "AudioModel",
    windows: "Windows",
    validation: "Windows | None",
    callbacks: list[keras.callbacks.Callback],
    budget: Budget,
) -> _History:
    """Trains `model` as long as the budget allows, with a line an epoch, and returns the history.

    Without decay the minutes are those of this call, in a run folder, too: the same call again goes on for as long.
    With decay they are those of the whole run, since the learning rate is a function of the time that has passed: the
    run folder keeps that time, and the same call again trains for the rest of it.
    """
    epochs, minutes, decay = budget
    limits: list[keras.callbacks.Callback] = []
    falling = CosineOverTime(minutes) if decay and minutes is not None else None
    if falling is not None:
        limits = [falling, EndOfDecay(falling)]
    elif minutes is not None:
        limits = [TimeLimit(minutes)]
    callbacks = [*callbacks, ProgressLine(minutes, falling), *limits]
    epochs = _EPOCHS if epochs is None else epochs
    return model.fit(windows, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0).history


class EndOfDecay(keras.callbacks.Callback):
    """Ends training when the learning rate has reached its end: `TimeLimit`, on the clock of a falling learning rate.

    Args:
        falling: The callback that lowers the rate. It keeps its time over an interruption.
    """

    def __init__(self, falling: CosineOverTime):
        super().__init__()
        self.falling = falling
        self._batches, self._is_over = 0, False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stops training when the time is over; a run that had used it up has trained one more batch then."""
        self._batches += 1
        if self.falling.get_state()["seconds"] >= 60 * self.falling.minutes:
            self.model.stop_training = self._is_over = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Says how to go on, if there was no time left."""
        if self._batches == 1 and self._is_over:
            say(f"The {self.falling.minutes:g} minutes of this run are over. With more minutes it goes on.")


class _Newest(keras.callbacks.Callback):
    """Saves after the first epoch, then at most every ten seconds: epochs can be shorter than saving takes."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file
        self._next = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() >= self._next:
            self.model.save(self.file)
            self._next = time.monotonic() + 10

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.save(self.file)


class ProgressLine(keras.callbacks.Callback):
    """One line an epoch, but at most one in five seconds: the losses over that of predicting the mean, and the time.

    The free-running loss, at the frame closest to the tenth, stands beside them from when it was first measured.

    Args:
        minutes: Time to train; `None` for no limit.
        falling: Lowers the learning rate over the minutes: then the time is that of the whole run, else of this call.
    """

    def __init__(self, minutes: float | None, falling: CosineOverTime | None = None):
        super().__init__()
        self.falling = falling
        self.of = f" of {60 * minutes:.0f}" if minutes else ""
        self._start = self._next = time.monotonic()
        self._unsaid = self._free_running = ""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        names = {"training": "relative_loss", "validation": "val_relative_loss"}
        losses = "  ".join(f"{word} loss {logs[name]:.3f}" for word, name in names.items() if name in logs)
        if measured := free_running(logs):
            self._free_running = "  free-running loss {:.3f} at frame {} (epoch {})".format(*measured, epoch + 1)
        past = time.monotonic() - self._start if self.falling is None else self.falling.get_state()["seconds"]
        said = f"epoch {epoch + 1:4d}  {past:4.0f}{self.of} s  {losses}"
        self._unsaid = said + self._free_running
        if time.monotonic() >= self._next:
            self._say()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._unsaid:
            self._say()

    def _say(self) -> None:
        say(self._unsaid)
        self._unsaid = ""
        self._next = time.monotonic() + 5
