"""One call of `fit` of a model with a run folder: its arguments, its interruption, and the rest of an epoch."""

import functools
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras.callbacks import Callback, CSVLogger, History, TensorBoard

from gruvlike._contracts import WindowsLike
from gruvlike.callbacks._averages import BeforeSwap, before_swap
from gruvlike.callbacks._guards import EarlyStopping
from gruvlike.callbacks._previews import FreeRunningLoss
from gruvlike.callbacks._progress import Progress
from gruvlike.callbacks._song_score import SongScore
from gruvlike.callbacks._songs import SONG_DISTANCE

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

logger = logging.getLogger(__name__)

_MEASURERS: dict[str, type[Callback]] = {"val_free_": FreeRunningLoss, "val_song_": SongScore}


@dataclass(frozen=True)
class FitCall:
    """One call of `fit`, by its arguments.

    Attributes:
        model: The model.
        x: The music to train on: windows, or arrays of PCM.
        callbacks: In the order in which Keras calls them; one of them is a `History`.
        epochs: Number of the epoch to end with.
        options: All other arguments by their names in Keras.
        own: Those of the callbacks that `run_callbacks` made, if they have a state.
        swapped: Remembers the weights at the end of an epoch, if another callback swaps them; or nothing.
    """

    model: "AudioModel"
    x: object
    callbacks: list[Callback]
    epochs: int
    options: dict[str, Any]
    own: Sequence[Callback]
    swapped: Sequence[BeforeSwap] = ()

    @classmethod
    def of(
        cls, model: "AudioModel", x: object, options: Mapping[str, Any], last: Callback, own: Sequence[Callback]
    ) -> "FitCall":
        """Reads the arguments of `fit`.

        Args:
            model: The model.
            x: The music to train on.
            options: All other arguments by their names in Keras.
            last: The run folder, which is called after all other callbacks.
            own: The callbacks that `run_callbacks` made. Where no songs can be measured they watch the loss instead of
                the score of songs, and without validation the same number of training.

        Raises:
            ValueError: If an argument does not go with a run folder.
        """
        rest = {name: value for name, value in options.items() if name not in ("callbacks", "epochs", "initial_epoch")}
        _check_options(options)
        callbacks = keras.tree.flatten(options["callbacks"])
        if not any(isinstance(callback, History) for callback in callbacks):
            callbacks.append(History())
        callbacks.sort(key=functools.partial(_order, last=last))
        swapped = before_swap(callbacks)
        call = cls(model, x, [*swapped, *callbacks], options.get("epochs", 1), rest, own, swapped)
        call._watch_numbers_that_there_are()
        return call

    def _watch_numbers_that_there_are(self) -> None:
        """Changes the number that the run's own callbacks watch, where it cannot be measured."""
        scores = [callback for callback in self.callbacks if isinstance(callback, SongScore)]
        has_songs = any([score._prepare(self.model) for score in scores])
        for callback in self.own:
            if callback.monitor == SONG_DISTANCE and not has_songs:
                callback.monitor = "val_loss"
            if self.validation is None and not self.validation_split:
                callback.monitor = callback.monitor.removeprefix("val_")

    @property
    def windows(self) -> WindowsLike | None:
        """The music to train on, if it is windows of a corpus."""
        return self.x if isinstance(self.x, WindowsLike) else None

    @property
    def validation(self) -> object:
        """The music for validation, or `None`."""
        return self.options.get("validation_data")

    @property
    def validation_windows(self) -> WindowsLike | None:
        """The music for validation, if it is windows of a corpus."""
        return self.validation if isinstance(self.validation, WindowsLike) else None

    @property
    def validation_split(self) -> float:
        """The share of arrays that is for validation; 0 for none."""
        return self.options.get("validation_split") or 0.0

    @property
    def history(self) -> History:
        """The history that `fit` returns: Keras takes the last one."""
        return next(callback for callback in reversed(self.callbacks) if isinstance(callback, History))

    @property
    def verbose(self) -> bool:
        """Whether `fit` prints its progress."""
        return bool(self.options.get("verbose", "auto")) and keras.config.is_interactive_logging_enabled()

    def print_or_log(self, text: str) -> None:
        """Prints a line among those of `fit`; if `fit` is silent, the line goes into the log."""
        if self.verbose:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            logger.info("%s", text)


def _order(callback: Callback, last: Callback) -> int:
    """Callbacks that decide run first, then writers, then the run folder: a checkpoint contains the finished epoch."""
    if callback is last:
        return 3
    return 2 if isinstance(callback, History) else int(isinstance(callback, CSVLogger | TensorBoard))


def _check_options(options: Mapping[str, object]) -> None:
    """Raises if a run folder cannot do with an argument of `fit`."""
    if options.get("steps_per_epoch") is not None:
        raise ValueError(
            "A run folder counts whole epochs of windows. "
            f"Received: steps_per_epoch={options['steps_per_epoch']!r}. Leave it out; `TimeLimit` ends a long epoch."
        )
    callbacks = keras.tree.flatten(options["callbacks"])
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError("A run folder goes on by itself. Received: BackupAndRestore beside it. Leave it out.")
        counts = isinstance(callback, keras.callbacks.EarlyStopping | keras.callbacks.ReduceLROnPlateau)
        if counts and not isinstance(callback, EarlyStopping) and _is_rare(callback.monitor, callbacks):
            raise ValueError(
                "A stock callback that counts epochs must watch a number of each epoch. Received: "
                f"{type(callback).__name__}(monitor={callback.monitor!r}), which is NaN in the epochs between two "
                "measurements. Use `run_callbacks(directory, monitor=..., patience=...)`, or measure each epoch "
                "(`preview_every=1`)."
            )


def _is_rare(monitor: str, callbacks: Sequence[Callback]) -> bool:
    """Whether a number is measured every few epochs alone."""
    makers = [maker for start, maker in _MEASURERS.items() if monitor.startswith(start)]
    return any(
        isinstance(one, FreeRunningLoss | SongScore) and type(one) in makers and one.every > 1 for one in callbacks
    )


def fit_from(call: FitCall, fit: Callable[..., History], progress: Progress) -> None:
    """Trains the epochs, and the part of an epoch, that a run has not seen."""
    windows = call.windows
    if windows is not None:
        windows.go_to(progress.epoch, progress.batch)
        if progress.batch and progress.epoch < call.epochs:
            SplitEpoch(call, progress, windows).fit(fit)
            return
    fit(call.x, epochs=call.epochs, initial_epoch=progress.epoch, callbacks=call.callbacks, **call.options)


class SplitEpoch(keras.callbacks.CallbackList):
    """Makes two calls of `fit` look like one: for the rest of an interrupted epoch, and for the whole epochs after it.

    Keras asks for the number of batches once a call, so an epoch that is shorter than the others needs its own call.
    Callbacks see one beginning and one end of training, and batches numbered as in the whole epoch.

    Args:
        call: The call of `fit`.
        progress: The place where the epoch was interrupted.
        windows: The windows to train on.
    """

    def __init__(self, call: FitCall, progress: Progress, windows: WindowsLike):
        verbose = call.options.get("verbose", "auto")
        steps = progress.batch + len(windows)
        super().__init__(
            call.callbacks, add_progbar=verbose != 0, model=call.model, verbose=verbose, epochs=call.epochs, steps=steps
        )
        self._call, self._progress, self._windows = call, progress, windows
        self._offset = progress.batch
        self._has_begun = self._is_last = False

    def fit(self, fit: Callable[..., History]) -> None:
        """Calls `fit` twice, or once if no whole epoch is left or training stops within this one."""
        call, first = self._call, self._progress.epoch
        rest = min(first + 1, call.epochs)
        self._is_last = rest == call.epochs
        fit(call.x, epochs=rest, initial_epoch=first, callbacks=self, **call.options)
        if self._is_last:
            return
        stopped = call.model.stop_training
        self._offset, self._is_last = 0, True
        self._progress.epoch, self._progress.batch = rest, 0
        # Without epochs, this call still ends the training for the callbacks.
        last = rest if stopped else call.epochs
        fit(call.x, epochs=last, initial_epoch=rest, callbacks=self, **call.options)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begins the training once; the second `fit` may have moved the windows."""
        if not self._has_begun:
            super().on_train_begin(logs)
        else:
            self._windows.go_to(self._progress.epoch, self._progress.batch)
        self._has_begun = True

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Passes on the number of the batch in the whole epoch."""
        super().on_train_batch_begin(batch + self._offset, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Passes on the number of the batch in the whole epoch."""
        super().on_train_batch_end(batch + self._offset, logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Ends the training with the last `fit`."""
        if self._is_last:
            super().on_train_end(logs)


class Interruption:
    """Ctrl-C during training: the first ends the batch at hand and saves, the second stops at once.

    Neither damages a file.

    Attributes:
        requested: Whether Ctrl-C was pressed once.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watched(self, is_last_batch: Callable[[], bool]) -> Iterator[None]:
        """Notes the first Ctrl-C within the block. A handler of the user's own is left alone.

        Args:
            is_last_batch: Whether the epoch ends after the batch at hand.
        """
        self.requested = False
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def finish_batch(*_: object) -> None:
            self.requested = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            when = "when this epoch is validated and saved" if is_last_batch() else "after this batch"
            # The message goes into the log, because the signal may have come while a line was being written to stdout.
            logger.info("Stopping %s. Ctrl-C again stops at once.", when)

        signal.signal(signal.SIGINT, finish_batch)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
