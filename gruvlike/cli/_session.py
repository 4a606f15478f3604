"""The training of `gruvlike train` and of the demo: under a clock, with a line an epoch."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from gruvlike.callbacks import TimeLimit
from gruvlike.callbacks._summary import free_running
from gruvlike.cli._console import say

if TYPE_CHECKING:
    from gruvlike.models import AudioModel
    from gruvlike.windows import Windows

_EPOCHS = 1_000_000  # more than any clock allows
_History = dict[str, list[float]]


def train(
    model: "AudioModel",
    windows: "Windows",
    validation: "Windows | None",
    file: Path,
    epochs: int | None = None,
    minutes: float | None = None,
) -> _History:
    """Trains `model` and keeps the newest state in `file`: after an epoch, at the end, and at Ctrl-C.

    Returns:
        The history: name -> one value an epoch.

    Raises:
        KeyboardInterrupt: With a message that names the saved file.
    """
    try:
        return fit(model, windows, validation, [_Newest(file)], epochs, minutes)
    except KeyboardInterrupt:
        model.save(file)
        raise KeyboardInterrupt(f"The model as trained so far is in {file}.") from None


def fit(
    model: "AudioModel",
    windows: "Windows",
    validation: "Windows | None",
    callbacks: list[keras.callbacks.Callback],
    epochs: int | None,
    minutes: float | None,
) -> _History:
    """Trains `model` for so many epochs or minutes, with a line an epoch, and returns the history."""
    callbacks = [*callbacks, Progress(minutes)]
    if minutes is not None:
        callbacks.append(TimeLimit(minutes))
    epochs = _EPOCHS if epochs is None else epochs
    return model.fit(windows, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0).history


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


class Progress(keras.callbacks.Callback):
    """One line an epoch, but at most one in five seconds: the losses over that of predicting the mean, and the time.

    The free-running loss, at the frame closest to the tenth, stands beside them from when it was first measured.
    """

    def __init__(self, minutes: float | None):
        super().__init__()
        self.of = f" of {60 * minutes:.0f}" if minutes else ""
        self._start = self._next = time.monotonic()
        self._unsaid = self._free_running = ""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        names = {"training": "relative_loss", "validation": "val_relative_loss"}
        losses = "  ".join(f"{word} loss {logs[name]:.3f}" for word, name in names.items() if name in logs)
        if measured := free_running(logs):
            self._free_running = "  free-running loss {:.3f} at frame {} (epoch {})".format(*measured, epoch + 1)
        said = f"epoch {epoch + 1:4d}  {time.monotonic() - self._start:4.0f}{self.of} s  {losses}"
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
