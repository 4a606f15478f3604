"""The run folder: one training, from its first step to its last, over as many processes as it takes."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras.callbacks import Callback, CSVLogger, History

from gruvlike import _checks
from gruvlike._contracts import Track
from gruvlike.callbacks import _identity, _records, _state
from gruvlike.callbacks._averages import has_averages
from gruvlike.callbacks._checkpoint import Checkpoint, believed
from gruvlike.callbacks._fitting import FitCall, Interruption, fit_from
from gruvlike.callbacks._guards import BestModel, EarlyStopping, has_failed
from gruvlike.callbacks._progress import Progress
from gruvlike.callbacks._resume import begin, fill_history, has_stopped_early, restore_metrics, resume
from gruvlike.callbacks._store import Store
from gruvlike.callbacks._throttle import Throttle

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

_SHARE = 0.02  # saving takes at most this share of the time, and drawing as much again at most
_BRIEF = 30.0  # seconds; a longer epoch is always saved and drawn


class RunFolder(Callback):
    """Keeps a run in a folder, and resumes the run that it finds there. `run_callbacks` makes it.

    Args:
        directory: The folder.
        save_minutes: Time after which a long epoch is saved in between.
        own: Other callbacks that `run_callbacks` made. They watch a number of training where nothing is validated, and
            their states are not mixed up with those of the user's callbacks.
        test: The tracks that are kept for a test.
        notes: Anything for `config.json`.
        recipe: The settings of the run, for `config.json`.
    """

    def __init__(
        self,
        directory: Path,
        save_minutes: float,
        own: Sequence[BestModel | EarlyStopping] = (),
        test: Iterable[Track] | None = None,
        notes: Mapping[str, object] | None = None,
        recipe: Mapping[str, object] | None = None,
    ):
        super().__init__()
        self.directory = directory
        self.save_minutes = _checks.number("save_minutes", save_minutes, 0, open_low=True)
        self.own, self.test, self.notes, self.recipe = own, test, notes, recipe
        self._store = Store(directory)
        self._saves, self._drawings = Throttle(_SHARE), Throttle(_SHARE)
        self._interruption = Interruption()
        self._call: FitCall | None = None
        self._progress = Progress({}, {}, {})
        self._checkpoint: Checkpoint | None = None  # the checkpoint stays until its states are given back
        self._resumes_epoch = False
        self._rate: float | None = None
        self._begun = 0  # batches of the epoch at hand, the one that is being computed included
        self._epoch_start = 0.0

    # --- around `fit` -------------------------------------------------------------------------------------------------

    def wrap_fit(self, model: "AudioModel", fit: Callable[..., History], x: object, **options: Any) -> History:
        """Runs `fit` from where the run in the folder is.

        Raises:
            ValueError: If an argument does not go with a run folder, or the run in the folder is another one.
            BlockingIOError: If another process trains in the folder.
            OSError: If the folder cannot be written.
        """
        call = FitCall.of(model, x, options, last=self, own=self.own)
        with self._store.locked():
            self._store.check_room(model)
            self._load_run(call, options.get("initial_epoch", 0))
            return self._fit_locked(self._fit_call(), fit)

    def _load_run(self, call: FitCall, first_epoch: int) -> None:
        """Resumes the run in the folder, or begins one if there is none."""
        self._checkpoint = self._store.read()
        if self._checkpoint is None:
            self._progress = begin(call, first_epoch)
        else:
            self._progress = resume(self._checkpoint, call)
            call.print_or_log(self._where().replace("The same script goes", "Going"))
            if has_stopped_early(self._checkpoint, call):
                call = replace(call, epochs=self._progress.epoch)
        self._call = call
        self._resumes_epoch = self._progress.batch > 0 and self._progress.epoch < call.epochs
        config = _identity.describe(call, self._progress, self.test)
        self._store.write_config({"notes": self.notes, "recipe": self.recipe, **config})
        self._store.write_histories(self._progress)

    def _fit_locked(self, call: FitCall, fit: Callable[..., History]) -> History:
        try:
            with self._interruption.watched(self._is_last_batch):
                fit_from(call, fit, self._progress)
        except BaseException as error:  # Ctrl-C counts, too: the user is told where the run goes on
            if self._where() not in str(error):
                call.print_or_log(f"Stopped. {self._where()}")
            raise
        finally:
            for callback in call.callbacks:
                if isinstance(callback, CSVLogger):
                    callback.on_train_end()  # the callback closes its file, also where training broke off
        if has_averages(call.model.optimizer):  # Keras puts them into the model at the end of each `fit`
            call.print_or_log(f"The averaged weights are in {str(self._store.save_averages(call.model))!r}.")
        summary = self._store.summarize()
        if summary and call.verbose:
            call.print_or_log(summary)
        return call.history

    def _where(self) -> str:
        return self._store.where(self._progress)

    # --- hooks of Keras -----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Saves the beginning of a new run, or fills the history of a resumed one."""
        call, progress = self._fit_call(), self._progress
        # The windows go there again, because Keras has read an epoch where it builds the model only now.
        if call.windows is not None:
            with believed(self._checkpoint):
                call.windows.go_to(progress.epoch, progress.batch)
        if self._checkpoint is None:
            self._save()
        else:
            fill_history(call.history, progress.rows)
        self._resume(epoch_has_begun=False)
        self._saves.last = time.monotonic()
        is_number = _identity.learning_rate(progress.identity) is not None
        self._rate = _state.learning_rate(self.model.optimizer) if is_number else None

    def _resume(self, epoch_has_begun: bool) -> None:
        """Gives all callbacks their states back. This is the only place that does.

        Two hooks end with this call, and the checkpoint decides which of them is the right moment:
        - Stock callbacks forget in `on_train_begin` everything that they have seen, so states come back after it.
        - A checkpoint within an epoch was saved after `on_epoch_begin` of that epoch. Keras calls this hook again for
          the rest of the epoch: a callback would count the epoch twice, and a schedule would lower the learning rate
          twice. So states, the learning rate and the averages of the epoch come back after it.
        This callback is called after all callbacks that have a state, so in either hook they have had their turn.
        """
        if self._checkpoint is None or epoch_has_begun != self._resumes_epoch:
            return
        call, checkpoint = self._fit_call(), self._checkpoint
        with believed(checkpoint):
            _state.to_callbacks(checkpoint.states, call.callbacks, call.own)
        if self._resumes_epoch and call.windows is not None:
            with believed(checkpoint):
                restore_metrics(self.model, call.windows, checkpoint.metrics)
            if self._rate is not None:
                self.model.optimizer.learning_rate = self._rate
        self._checkpoint = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts to count the batches of an epoch; those before its interruption stay counted."""
        progress, call = self._progress, self._fit_call()
        if self._resumes_epoch:
            self._resume(epoch_has_begun=True)
            self._resumes_epoch = False
        else:
            progress.epoch, progress.batch, progress.seconds = epoch, 0, 0.0
        self._begun = progress.batch
        if call.validation_windows is not None:
            call.validation_windows.go_to(epoch)
        self._epoch_start = time.monotonic() - progress.seconds

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the batch, for the message after Ctrl-C."""
        self._begun = batch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Saves within an epoch: when training stops there, and every `save_minutes`."""
        progress, call = self._progress, self._fit_call()
        progress.batch = batch + 1
        if progress.batch >= (self._steps() or math.inf):
            return  # the epoch ends here, and is saved as a whole
        is_due = time.monotonic() - self._saves.last > 60 * self.save_minutes
        # `call.model` is read here, because with JAX `self.model` copies all variables back from the device.
        if is_due or self._interruption.requested or call.model.stop_training:
            # Keras puts the averages into the model at the end of each `fit`, so such a run resumes whole epochs alone.
            can_resume = call.windows is not None and not has_averages(call.model.optimizer)
            if can_resume and not has_failed(call.callbacks):
                self._save()
        self._raise_if_interrupted()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch into the history, draws the learning curve and saves."""
        progress, call = self._progress, self._fit_call()
        row = {"epoch": epoch, "seconds": round(time.monotonic() - self._epoch_start, 3)}
        row |= _records.numbers(logs or {})
        is_whole = progress.batch >= (self._steps() or 0)
        is_last = call.model.stop_training or epoch + 1 >= call.epochs or self._interruption.requested
        is_due = is_last or row["seconds"] >= _BRIEF
        rows = [*progress.rows, row]
        self._store.add_row([*progress.rows, row if is_whole else {**row, "batches": progress.batch}])
        if is_whole and not has_failed(call.callbacks):
            progress.rows, progress.epoch, progress.batch = rows, epoch + 1, 0
            if is_due or self._saves.is_due():
                self._save()
        if is_due or self._drawings.is_due():
            with self._drawings.timed():
                self._store.draw(rows, progress.baselines)
        self._raise_if_interrupted()

    def _save(self) -> None:
        progress, call = self._progress, self._fit_call()
        progress.seconds = time.monotonic() - self._epoch_start if progress.batch else 0.0
        with self._saves.timed(), ExitStack() as undone:
            for swapped in call.swapped:
                undone.enter_context(swapped.undone())
            self._store.save(self.model, progress, _state.of_callbacks(call.callbacks, call.own))

    def _raise_if_interrupted(self) -> None:
        if self._interruption.requested:
            raise KeyboardInterrupt(self._where())

    def _steps(self) -> int | None:
        """The batches of a whole epoch; `None` if Keras does not know."""
        return (self.params or {}).get("steps")

    def _is_last_batch(self) -> bool:
        return self._fit_call().model.stop_training or self._begun >= (self._steps() or math.inf)

    def _fit_call(self) -> FitCall:
        """The call of `fit` at hand."""
        if self._call is None:
            raise ValueError(
                "A run folder belongs to `AudioModel.fit`, in a list of callbacks. Received: another model, or a "
                "`CallbackList`. Put the network into an `AudioModel`, and give its `fit` a list."
            )
        return self._call
