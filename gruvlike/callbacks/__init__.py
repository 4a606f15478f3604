"""Callbacks for `AudioModel.fit`: save and resume a run, stop it at NaN or after some minutes, make previews of songs.

`run_callbacks("runs/a")` makes all the callbacks that a run needs. Each can also be used alone.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras

from gruvlike import _checks
from gruvlike._contracts import Track
from gruvlike.callbacks._guards import BestModel, EarlyStopping, NaNGuard, TimeLimit
from gruvlike.callbacks._previews import AudioPreview, FreeRunningLoss, has_tensorboard
from gruvlike.callbacks._run import RunFolder
from gruvlike.callbacks._schedule import CosineOverTime
from gruvlike.callbacks._song_score import SongScore
from gruvlike.callbacks._songs import SONG_DISTANCE
from gruvlike.corpus._warnings import corpus_warnings

__all__ = [
    "AudioPreview",
    "CosineOverTime",
    "FreeRunningLoss",
    "NaNGuard",
    "SongScore",
    "TimeLimit",
    "corpus_warnings",
    "run_callbacks",
]


def run_callbacks(
    directory: str | os.PathLike[str],
    *,
    monitor: str = "val_loss",
    patience: int | None = None,
    preview_every: int = 5,
    preview_seconds: float = 5.0,
    save_minutes: float = 10.0,
    test: Iterable[Track] | None = None,
    notes: Mapping[str, object] | None = None,
    recipe: Mapping[str, object] | None = None,
    song_score: SongScore | None = None,
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that keep a run in a folder, and resume the run that is there.

    `fit(..., epochs=50, callbacks=run_callbacks("runs/a"))`, called again after a crash, a Ctrl-C or a kill, resumes
    the run, and ends with the weights of a run that was never interrupted (TensorFlow on a CPU: to the last bit). A
    larger number of epochs continues a finished run. Another corpus, encoder or network is refused, with the
    differences. Give the windows of a `Corpus` to `fit`: Keras decides about the order of arrays.

    In the folder: `newest.keras` (after each epoch, each `save_minutes` within one, and where training stops) and
    `previous.keras`, the one before; `best.keras`, by `monitor`; `config.json` (settings, versions, which music is for
    training, validation and test); `history.csv` and `history.jsonl`; `learning_curve.png`; `summary.txt`; `previews/`;
    `logs/` where TensorBoard is installed; and `lock`, held while it is trained. Where epochs take less than half a
    minute, `newest.keras` and the picture are not renewed after each: either takes 2 % of the time at most.

    Your own callbacks beside these keep their state over an interruption if they have `get_state()` (a dictionary of
    numbers, strings, lists and arrays) and `set_state(state)`; so do early stopping and the like of Keras.

    Args:
        directory: The run folder; made if it is not there.
        monitor: Name of the number in the history of which the best model has least. Without validation music the same
            number of training. `"val_song_distance"` judges songs (`SongScore`); where they cannot be measured the
            run follows the loss.
        patience: Epochs without a better `monitor` after which training ends; `None` never ends it. Epochs where the
            number was not measured do not count.
        preview_every: Epochs from one preview, and one measurement of the free-running loss, to the next; 0 for none.
        preview_seconds: Length of a preview.
        save_minutes: Time after which a long epoch is saved in between.
        test: The part of the corpus that is kept for a test, for `config.json`.
        notes: Anything else for `config.json`.
        recipe: The settings that the run was made with, as plain data, for `config.json`.
        song_score: How songs are measured. `None`: not at all, unless they are the `monitor`: then each
            `preview_every` epochs, for a twentieth of the time at most, and at the end.

    Returns:
        A list for `fit`; add your own callbacks to it.

    Raises:
        TypeError: If a recipe is not plain data.
        ValueError: If an argument is out of its range. `fit` raises one if the run there is another.
        BlockingIOError: By `fit`, if another process trains in the folder.

    Example:
        >>> [type(callback).__name__ for callback in run_callbacks("runs/a", preview_every=0)][:2]
        ['NaNGuard', 'BestModel']
    """
    directory = Path(directory)
    best = BestModel(directory / "best.keras", monitor)
    callbacks: list[keras.callbacks.Callback] = [NaNGuard(), best]
    own: list[BestModel | EarlyStopping] = [best]
    if _checks.positive_int("preview_every", preview_every, minimum=0):
        board = directory / "logs"
        preview = AudioPreview(directory / "previews", preview_every, preview_seconds, board=board)
        callbacks[1:1] = [preview, FreeRunningLoss(preview_every)]
    if monitor == SONG_DISTANCE and song_score is None:
        song_score = SongScore(_checks.positive_int("preview_every", preview_every))
    if song_score is not None:
        callbacks.insert(1, song_score)
    if patience is not None:
        _checks.positive_int("patience", patience)
        own.append(EarlyStopping(monitor, patience=patience, mode="min"))
        callbacks.append(own[-1])
    if has_tensorboard():
        callbacks.append(keras.callbacks.TensorBoard(directory / "logs", write_graph=False))
    return [*callbacks, RunFolder(directory, save_minutes, own, test, notes, _plain_recipe(recipe))]


def _plain_recipe(recipe: Mapping[str, object] | None) -> dict[str, object] | None:
    """Returns a recipe as JSON gives it back, or raises if JSON cannot hold it."""
    try:
        return None if recipe is None else json.loads(json.dumps(dict(recipe)))
    except (TypeError, ValueError) as error:
        raise TypeError(
            "A recipe must be plain data: numbers, strings, lists and dictionaries of them. "
            f"Received: {recipe!r}: {error}."
        ) from error
