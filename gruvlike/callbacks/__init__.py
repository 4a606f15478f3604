"""Watch over training: keep it, go on with it, guard it, hear it. Callbacks for `AudioModel.fit` beyond those of Keras.

`run_callbacks("runs/a")` gives all that a run needs. The others can be used alone.
"""

from pathlib import Path
from typing import Any

import keras

from gruvlike import _checks
from gruvlike.callbacks._guards import BestModel, NaNGuard, TimeLimit
from gruvlike.callbacks._previews import AudioPreview, FreeRunningLoss, has_tensorboard
from gruvlike.callbacks._run import RunFolder
from gruvlike.corpus._warnings import corpus_warnings

__all__ = ["AudioPreview", "FreeRunningLoss", "NaNGuard", "TimeLimit", "corpus_warnings", "run_callbacks"]


def run_callbacks(
    directory: Any,
    *,
    monitor: str = "val_loss",
    patience: int | None = None,
    preview_every: int = 5,
    preview_seconds: float = 5.0,
    save_minutes: float = 10.0,
    test: Any = None,
    notes: dict | None = None,
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that keep a run in a folder, and go on with the run that is there.

    `fit(..., epochs=50, callbacks=run_callbacks("runs/a"))`, run again after a crash, a Ctrl-C or a kill, goes on where
    it was and ends with the weights of a run that was never interrupted (TensorFlow on a CPU: to the last bit). With a
    larger number of epochs it goes on to that number. With another corpus, encoder or network it says what differs,
    and refuses. Give the windows of a `Corpus` to `fit`: the order of arrays is in the hands of Keras.

    In the folder: `newest.keras` (after each epoch, each `save_minutes` within one, and where training stops) and
    `previous.keras`, the one before; `best.keras`, by `monitor`; `config.json` (settings, versions, which music is for
    training, validation and test); `history.csv` and `history.jsonl`; `learning_curve.png`; `summary.txt`; `previews/`;
    `logs/` where TensorBoard is installed; and `lock`, held while it is trained. Where epochs take less than half a
    minute, `newest.keras` and the picture are not renewed after each: either takes 2 % of the time at most.

    Callbacks of your own beside these keep their state over an interruption if they have `get_state()` (a dictionary
    of numbers, strings, lists and arrays) and `set_state(state)`; early stopping and the like of Keras do.

    Args:
        directory: The run folder; made if it is not there.
        monitor: What the best model has least of. Without validation music the same of training.
        patience: Epochs without a better `monitor` after which training ends; `None` never ends it.
        preview_every: Epochs from one preview, and one measurement of the free-running loss, to the next; 0 for none.
        preview_seconds: Length of a preview.
        save_minutes: Time after which a long epoch is saved in between.
        test: The part of the corpus that is kept for a test, to be written down.
        notes: Anything else to write into `config.json`.

    Returns:
        A list for `fit`; add your own to it.

    Raises:
        ValueError: If an argument is out of its range. `fit` raises one if the run there is another.
        BlockingIOError: By `fit`, if another process trains in the folder.

    Example:
        >>> [type(callback).__name__ for callback in run_callbacks("runs/a", preview_every=0)][:3]
        ['NaNGuard', 'BestModel', 'CSVLogger']
    """
    directory = Path(directory)
    best = BestModel(directory / "best.keras", monitor)
    callbacks = [NaNGuard(), best, keras.callbacks.CSVLogger(directory / "history.csv", append=True)]
    if _checks.positive_int("preview_every", preview_every, minimum=0):
        board = directory / "logs"
        preview = AudioPreview(directory / "previews", preview_every, preview_seconds, board=board)
        callbacks[1:1] = [preview, FreeRunningLoss(preview_every)]
    if patience is not None:
        _checks.positive_int("patience", patience)
        stopping = keras.callbacks.EarlyStopping(monitor, patience=patience, mode="min")
        stopping.of_run = True
        callbacks.append(stopping)
    if has_tensorboard():
        callbacks.append(keras.callbacks.TensorBoard(directory / "logs", write_graph=False))
    return [*callbacks, RunFolder(directory, save_minutes, test, notes)]
