"""Where a run begins: with its first epoch, or at the checkpoint in its folder."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from keras.callbacks import EarlyStopping, History

from gruvlike._contracts import Batches, WindowsLike
from gruvlike.callbacks import _checkpoint, _identity, _records, _state
from gruvlike.callbacks._checkpoint import Checkpoint
from gruvlike.callbacks._fitting import FitCall
from gruvlike.callbacks._progress import Progress
from gruvlike.corpus._warnings import corpus_warnings

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

logger = logging.getLogger(__name__)


def begin(call: FitCall, first_epoch: int) -> Progress:
    """Returns the progress of a new run, after a look at its music."""
    _warn_about_music(call)
    return Progress(_identity.identity(call), _identity.versions(), _measure_baselines(call), first_epoch)


def _warn_about_music(call: FitCall) -> None:
    for part, windows in (("to train on", call.windows), ("for validation", call.validation_windows)):
        for warning in corpus_warnings(windows.corpus) if windows is not None else ():
            logger.warning("The music %s: %s", part, warning)


def _measure_baselines(call: FitCall) -> dict[str, float]:
    """Returns the losses of simple predictors on the validation music, if it is windows of a corpus."""
    training = call.x["pcm"] if isinstance(call.x, dict) else call.x
    if call.validation_windows is None or not isinstance(training, np.ndarray | Batches):
        return {}  # music that comes in an order of its own, as from `tf.data`, has no baselines
    found = call.model.baselines(call.validation_windows, training)
    words = ", ".join(f"{_records.BASELINES.get(name, name)} {loss:.3f}" for name, loss in found.items())
    call.print_or_log(f"Validation loss to beat: {words}.")
    return found


def resume(checkpoint: Checkpoint, call: FitCall) -> Progress:
    """Restores the variables of a checkpoint, and returns its progress with the versions and the rate of now.

    Raises:
        ValueError: If the run is another one, or any bit of its variables is not as it was saved.
    """
    model, progress, identity = call.model, checkpoint.progress, _identity.identity(call)
    _identity.check_same(progress.identity, identity, checkpoint.path.parent)
    _checkpoint.restore(checkpoint, model)
    given = _identity.learning_rate(identity)
    if given is not None and given not in (_identity.learning_rate(progress.identity), _rate_of(model)):
        call.print_or_log(f"The learning rate is {given:g} now. It was {_rate_of(model):g}.")
        model.optimizer.learning_rate = given
        progress.identity = identity
    versions = _identity.versions()
    if progress.versions != versions:
        changed = ", ".join(_identity.differences(progress.versions, versions))
        logger.warning("Other versions than before (%s): the run goes on, but not to the last bit.", changed)
        progress.versions = versions
    return progress


def _rate_of(model: "AudioModel") -> float:
    return _state.learning_rate(model.optimizer)


def has_stopped_early(checkpoint: Checkpoint | None, call: FitCall) -> bool:
    """Whether early stopping had ended the run, and would again."""
    states = checkpoint.states if checkpoint else []
    for callback, state in _state.matched(states, call.callbacks, call.own):
        if not isinstance(callback, EarlyStopping):
            continue
        stopped, waited = state.get("stopped_epoch"), state.get("wait")
        if isinstance(stopped, int) and isinstance(waited, int) and stopped > 0 and waited >= callback.patience:
            epoch = stopped + 1
            call.print_or_log(f"Early stopping ended this run after epoch {epoch}. To go on, raise `patience`.")
            return True
    return False


def fill_history(history: History, rows: Sequence[_records.Row]) -> None:
    """Gives a history the epochs before this call of `fit`."""
    history.epoch = [row["epoch"] for row in rows]
    history.history = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("epoch", "seconds"):
                history.history.setdefault(name, []).append(value)


def restore_metrics(model: "AudioModel", windows: WindowsLike, saved: Mapping[str, np.ndarray]) -> None:
    """Gives the averages of the epoch at hand the values of a checkpoint."""
    if len(model.metrics_variables) < len(saved):  # the first batch makes those that were given to `compile`
        random = _state.unsaved_variables(model)  # recurrent dropout draws numbers in a test, too
        before = _state.arrays_of(random)
        model.test_on_batch(windows[0][0])
        model.reset_metrics()
        _state.assign(random, before)
    for variable in model.metrics_variables:
        if variable.path in saved:
            variable.assign(saved[variable.path])
