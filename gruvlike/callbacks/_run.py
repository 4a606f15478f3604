"""The run folder: one training, from its first step to its last, over as many processes as it takes."""

import json
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gruvlike import _checks, _files
from gruvlike.callbacks import _checkpoint, _identity, _records, _state
from gruvlike.callbacks._guards import NaNGuard
from gruvlike.callbacks._summary import write_summary
from gruvlike.corpus._warnings import corpus_warnings

logger = logging.getLogger(__name__)

# Where saving or drawing takes c seconds, it is done again after 50 c at the earliest: two hundredths of the time.
_RARITY = 50
_BRIEF = 30.0  # seconds; after a longer epoch it is always done


class RunFolder(keras.callbacks.Callback):
    """Keeps a run in a folder, and goes on with the run that it finds there. `run_callbacks` makes it."""

    def __init__(self, directory: Path, save_minutes: float, test: Any, notes: dict | None):
        super().__init__()
        self.directory = directory
        self.save_seconds = 60 * _checks.number("save_minutes", save_minutes, 0, open_low=True)
        self.test, self.notes = test, notes
        self.newest, self.previous = directory / "newest.keras", directory / "previous.keras"
        self._saves, self._drawings = _Rarely(), _Rarely()

    # --- around `fit` -------------------------------------------------------------------------------------------------

    def wrap_fit(self, model: Any, fit: Callable, x: Any = None, **kwargs: Any) -> Any:
        """Runs `fit` of `model` from where the run in the folder is (`AudioModel.fit` calls this)."""
        _check_arguments(kwargs)
        _check_folder(self.directory)
        rule = (
            f"A run is trained by one process at a time. Received: {str(self.directory)!r}, which is being trained "
            "now. Wait for that, or give another folder."
        )
        with _files.locked(self.directory / "lock", rule):
            return self._go(model, fit, x, kwargs)

    def _go(self, model: Any, fit: Callable, x: Any, kwargs: dict) -> Any:
        # What is written down has been decided by then; what is saved has been written down.
        self._callbacks = sorted(keras.tree.flatten(kwargs.pop("callbacks")), key=self._turn)
        self._network, self._windows, self._validation = model, x, kwargs.get("validation_data")
        self._split = kwargs.get("validation_split")
        self._epochs = kwargs.pop("epochs", 1)
        self._is_heard = bool(kwargs.get("verbose", "auto")) and keras.config.is_interactive_logging_enabled()
        self._watch_training_if_there_is_nothing_else()
        self._open()
        if not self._checkpoint:
            self._epoch = kwargs.get("initial_epoch", 0)
        kwargs["initial_epoch"] = self._epochs if self._was_ended() else self._epoch
        self._place_windows()
        steps = len(x) + x.first_batch if hasattr(x, "first_batch") else None
        try:
            with self._interruptible():
                self._fit(model, fit, x, steps, kwargs)
        except BaseException as error:  # Ctrl-C and a callback that raises included: say where it goes on, hide nothing
            if self._where() not in str(error):
                self._tell(f"Stopped. {self._where()}")
            raise
        finally:
            for callback in self._callbacks:
                if isinstance(callback, keras.callbacks.CSVLogger):
                    callback.on_train_end()  # closes its file, also where training broke off
        try:
            summary = write_summary(self.directory)
        except OSError as error:  # all that was trained is saved by now
            logger.warning("The summary of the run could not be written: %s", error)
        else:
            if summary and self._is_heard:
                self._tell(summary)
        return model.history

    def _tell(self, text: str) -> None:
        """Says it where `fit` shows its progress; if `fit` is silent, to those who listen to the log."""
        if self._is_heard:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            logger.info("%s", text)

    def _fit(self, model: Any, fit: Callable, x: Any, steps: int | None, kwargs: dict) -> None:
        if steps is None or self._batch == 0:
            fit(x, epochs=self._epochs, callbacks=self._callbacks, **kwargs)
            return
        # The rest of an epoch, then whole ones: Keras asks for the number of batches once a `fit`.
        verbose = kwargs.get("verbose", "auto")
        joined = _Joined(
            self._callbacks, add_history=True, add_progbar=verbose != 0, model=model,
            verbose=verbose, epochs=self._epochs, steps=steps,
        )  # fmt: skip
        rest = min(self._epoch + 1, self._epochs)
        joined.offset, joined.is_last, joined.go_on = self._batch, rest == self._epochs, self._set_windows
        fit(x, epochs=rest, callbacks=joined, **kwargs)
        if not joined.is_last:
            stopped = model.stop_training
            joined.offset, joined.is_last, self._epoch, self._batch = 0, True, rest, 0
            fit(x, epochs=rest if stopped else self._epochs, callbacks=joined, **{**kwargs, "initial_epoch": rest})

    def _turn(self, callback: Any) -> int:
        writes = isinstance(callback, keras.callbacks.CSVLogger | keras.callbacks.TensorBoard)
        return 2 if callback is self else int(writes)

    def _watch_training_if_there_is_nothing_else(self) -> None:
        if self._validation is None and not self._split:
            for callback in self._callbacks:
                if getattr(callback, "of_run", False) and callback.monitor.startswith("val_"):
                    callback.monitor = callback.monitor.removeprefix("val_")

    def _was_ended(self) -> bool:
        """Whether early stopping had ended the run, and would again."""
        if not self._checkpoint:
            return False
        _state.to_callbacks(self._callbacks, self._checkpoint.states)
        for callback in self._callbacks:
            is_stopper = isinstance(callback, keras.callbacks.EarlyStopping)
            if is_stopper and callback.stopped_epoch and callback.wait >= callback.patience:
                epoch = callback.stopped_epoch + 1
                self._tell(f"Early stopping ended this run after epoch {epoch}. To go on, raise `patience`.")
                return True
        return False

    def _where(self) -> str:
        epoch, batch = self._saved
        where = f"after epoch {epoch}" if not batch else f"in epoch {epoch + 1}, after batch {batch}"
        return f"The same script goes on with {str(self.directory)!r} {where}."

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C ends the batch at hand and saves; the second stops at once. Neither damages a file."""
        self._interrupted, self._begun = False, 0
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def finish_batch(*_: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            is_last = self._network.stop_training or self._begun >= (self.params["steps"] or math.inf)
            when = "when this epoch is validated and saved" if is_last else "after this batch"
            # The log, not `_tell`: what interrupts a line that is being written to stdout cannot write there.
            logger.info("Stopping %s. Ctrl-C again stops at once.", when)

        signal.signal(signal.SIGINT, finish_batch)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    # --- beginning and going on ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        model = self._network
        self._identity = _identity.identity(model, self._windows, self._validation)
        if self._split:
            self._identity["validation"] = {"split": self._split}
        self._checkpoint = _checkpoint.read(self.newest, self.previous)
        # A damaged file must not take the place of the whole one.
        self._newest_is_whole = not self._checkpoint or self._checkpoint.path == self.newest
        self._rows: list[dict] = []
        self._epoch = self._batch = 0
        if self._checkpoint:
            progress = self._checkpoint.progress
            self._check_same(progress["identity"])
            self._restore(progress)
        else:
            self._point_out()
            self._baselines = self._judged_by()
        self._saved = (self._epoch, self._batch)
        self._write_config()
        _records.write_histories(self.directory, self._rows)

    def _check_same(self, then: dict) -> None:
        now = json.loads(json.dumps(self._identity))
        now["optimizer"]["config"]["learning_rate"] = then["optimizer"]["config"].get("learning_rate")
        rates = [one["optimizer"]["config"].get("learning_rate") for one in (then, self._identity)]
        if not all(isinstance(rate, float) for rate in rates):
            now = self._identity
        if found := list(_identity.differences(then, now)):
            raise ValueError(
                "A run goes on with the corpus, the encoder and the network that it began with. "
                f"Received: {str(self.directory)!r}, where {'; '.join(found[:3])}"
                f"{f'; and {len(found) - 3} more' if found[3:] else ''}. Use another folder for another run."
            )

    def _restore(self, progress: dict) -> None:
        model, given = self._network, self._identity["optimizer"]["config"].get("learning_rate")
        _checkpoint.restore(self._checkpoint, model)
        self._epoch, self._batch, self._rows = progress["epoch"], progress["batch"], progress["rows"]
        self._baselines = progress["baselines"]
        then = progress["identity"]["optimizer"]["config"].get("learning_rate")
        if isinstance(given, float) and given not in (then, float(model.optimizer.learning_rate)):
            self._tell(f"The learning rate is {given:g} now. It was {float(model.optimizer.learning_rate):g}.")
            model.optimizer.learning_rate = given
        else:
            self._identity = progress["identity"]
        if progress["versions"] != _identity.versions():
            changed = ", ".join(_identity.differences(progress["versions"], _identity.versions()))
            logger.warning("Other versions than before (%s): the run goes on, but not to the last bit.", changed)
        self._saved = (self._epoch, self._batch)
        self._tell(self._where().replace("The same script goes", "Going"))

    def _point_out(self) -> None:
        for part, windows in (("to train on", self._windows), ("for validation", self._validation)):
            if hasattr(windows, "corpus"):
                for warning in corpus_warnings(windows.corpus):
                    logger.warning("The music %s: %s", part, warning)

    def _judged_by(self) -> dict[str, float]:
        if not hasattr(self._validation, "corpus"):
            return {}
        found = self._network.baselines(self._validation, self._windows)
        words = ", ".join(f"{_records.BASELINES.get(name, name)} {loss:.3f}" for name, loss in found.items())
        self._tell(f"Validation loss to beat: {words}.")
        return found

    def _place_windows(self) -> None:
        """Epochs of windows are those of the run, whatever else the windows were used for."""
        if hasattr(self._windows, "first_batch"):
            self._windows.on_epoch_end()  # a `fit` that broke off has left an epoch begun
            self._set_windows()

    def _set_windows(self) -> None:
        if hasattr(self._windows, "first_batch"):
            self._windows.epoch, self._windows.first_batch = self._epoch, self._batch

    # --- what Keras calls ---------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Gives the callbacks their states back, after Keras has reset them."""
        if not hasattr(self, "_network"):
            raise ValueError(
                "A run folder belongs to `AudioModel.fit`, in a list of callbacks. Received: another model, or a "
                "`CallbackList`. Put the network into an `AudioModel`, and give its `fit` a list."
            )
        self._set_windows()  # again: a model that Keras builds only now has cost an epoch
        if self._checkpoint:
            _state.to_callbacks(self._callbacks, self._checkpoint.states)
            self._fill_history()
        else:
            self._save(self._epoch, 0)
        self._saves.last = time.monotonic()
        self._first, self._rate = True, self._learning_rate()

    def _fill_history(self) -> None:
        for row in self._rows:
            for name, value in row.items():
                if name not in ("epoch", "seconds"):
                    self._network.history.history.setdefault(name, []).append(value)

    def _learning_rate(self) -> float | None:
        """The rate, if callbacks can set it: the optimizer has no schedule of its own."""
        is_number = isinstance(self._identity["optimizer"]["config"].get("learning_rate"), float)
        return float(self.model.optimizer.learning_rate) if is_number else None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Takes up an epoch that was interrupted, with its averages; it does not begin twice."""
        if self._first and self._checkpoint:
            self._network.history.epoch[:0] = [row["epoch"] for row in self._rows]
            if self._batch:
                self._restore_metrics(dict(self._checkpoint.states).get("metrics", {}))
                _state.to_callbacks(self._callbacks, self._checkpoint.states)
                if self._rate is not None:
                    self.model.optimizer.learning_rate = self._rate
        self._done = self._begun = self._batch if self._first else 0
        spent = self._checkpoint.progress["seconds"] if self._first and self._batch else 0.0
        self._epoch, self._first = epoch, False
        if hasattr(self._validation, "epoch"):
            self._validation.epoch = epoch
        self._epoch_began = time.monotonic() - spent

    def _restore_metrics(self, saved: dict[str, np.ndarray]) -> None:
        model = self.model
        if len(model.metrics_variables) < len(saved):  # those given to `compile` are made by the first batch
            random = _state.unsaved_variables(model)  # dropout of what recurs draws numbers in a test, too
            before = _state.arrays_of(random)
            model.test_on_batch(self._windows[0][0])
            model.reset_metrics()
            _state.assign(random, before)
        for variable in model.metrics_variables:
            if variable.path in saved:
                variable.assign(saved[variable.path])

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Counts, for whoever presses Ctrl-C."""
        self._begun = batch + 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Saves within an epoch: when training stops there, and every `save_minutes`."""
        self._done = batch + 1
        if self._done >= (self.params["steps"] or math.inf):
            return  # the epoch ends here, and is saved as a whole
        due = time.monotonic() - self._saves.last > self.save_seconds
        stops = self._interrupted or self._network.stop_training
        # Averaged weights take the place of the others whenever `fit` ends: such a run goes on from whole epochs only.
        can_go_on = hasattr(self._windows, "first_batch") and not self._network.optimizer.use_ema
        if (stops or due) and can_go_on and not self._failed():
            self._save(self._epoch, self._done)
        if self._interrupted:
            raise KeyboardInterrupt(self._where())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes down the epoch, draws the learning curve and saves."""
        row = {"epoch": epoch, "seconds": round(time.monotonic() - self._epoch_began, 3)}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        is_whole = self._done >= (self.params["steps"] or 0)
        stops = self._network.stop_training or epoch + 1 >= self._epochs or self._interrupted
        is_due = stops or row["seconds"] >= _BRIEF
        rows = [*self._rows, row]
        _records.add(self.directory, row if is_whole else {**row, "batches": self._done})
        if is_whole and not self._failed():
            self._rows = rows
            if is_due or self._saves.is_time():
                self._save(epoch + 1, 0)
        if is_due or self._drawings.is_time():
            with self._drawings.timed():
                _records.draw(self.directory, rows, self._baselines)
        if self._interrupted:
            raise KeyboardInterrupt(self._where())

    # --- files --------------------------------------------------------------------------------------------------------

    def _failed(self) -> bool:
        for callback in self._callbacks:
            if isinstance(callback, NaNGuard):
                callback._look()
        return any(getattr(callback, "reason", None) for callback in self._callbacks)

    def _save(self, epoch: int, batch: int) -> None:
        progress = {
            "epoch": epoch,
            "batch": batch,
            "seconds": time.monotonic() - self._epoch_began if batch else 0.0,
            "rows": self._rows,
            "baselines": self._baselines,
            "identity": self._identity,
            "versions": _identity.versions(),
        }
        states = _state.of_callbacks(self._callbacks)
        with self._saves.timed():
            variables = self.model.metrics_variables
            metrics = dict(zip([v.path for v in variables], _state.arrays_of(variables), strict=True))
            previous = self.previous if self._newest_is_whole else None
            _checkpoint.write(self.newest, previous, self.model, progress, [*states, ("metrics", metrics)])
        self._saved, self._newest_is_whole = (epoch, batch), True

    def _write_config(self) -> None:
        corpora = {"train": self._windows, "validation": self._validation}
        corpora = {name: getattr(windows, "corpus", None) for name, windows in corpora.items()}
        config = {
            "what": "a run of gruvlike",
            "versions": _identity.versions(),
            "random_seed": _identity.random_seeds(self._network, self._windows),
            "baselines": self._baselines,
            "notes": self.notes,
            "parts": _identity.parts(**corpora, test=self.test),
            **self._identity,
        }
        with _files.replacing(self.directory / "config.json") as temporary:
            temporary.write_text(json.dumps(config, indent=1, default=str) + "\n", encoding="utf-8")


class _Joined(keras.callbacks.CallbackList):
    """One beginning, one end and one count of batches over several calls of `fit`."""

    offset, is_last, has_begun = 0, True, False
    go_on: Callable

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self.has_begun:
            super().on_train_begin(logs)
        else:
            self.go_on()
        self.has_begun = True

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        super().on_train_batch_begin(batch + self.offset, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_train_batch_end(batch + self.offset, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.is_last:
            super().on_train_end(logs)


class _Rarely:
    """Keeps what is done again and again to a small share of the time."""

    def __init__(self) -> None:
        self.last, self.cost = -math.inf, 0.0

    def is_time(self) -> bool:
        return time.monotonic() - self.last >= _RARITY * self.cost

    @contextmanager
    def timed(self) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.last = time.monotonic()
        self.cost = self.last - start


def _check_arguments(kwargs: dict) -> None:
    if kwargs.get("steps_per_epoch") is not None:
        raise ValueError(
            "A run folder counts whole epochs of windows. "
            f"Received: steps_per_epoch={kwargs['steps_per_epoch']!r}. Leave it out; `TimeLimit` ends a long epoch."
        )
    for callback in keras.tree.flatten(kwargs["callbacks"]):
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError("A run folder goes on by itself. Received: BackupAndRestore beside it. Leave it out.")


def _check_folder(directory: Path) -> None:
    """Makes the folder, and raises before the first step if it will not do."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"A run is kept in a folder. Received: {str(directory)!r}, where there is a file. Give another name."
        ) from error
    except OSError as error:
        raise type(error)(
            f"The run folder must be writable. Received: {str(directory)!r}: {os.strerror(error.errno or 0)}. "
            "Give another folder, or make room."
        ) from error
