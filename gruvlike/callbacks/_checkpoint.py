"""A checkpoint: a model file (`.keras`) that also holds what is needed to go on as if nothing had happened.

Two more members in the archive, which Keras does not mind: `training.json` (where training was, the states of
callbacks, the history) and `training.npz` (the arrays of these, random states, metrics). No code is run on reading.
"""

import io
import json
import logging
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from gruvlike import _files
from gruvlike.callbacks import _state

logger = logging.getLogger(__name__)

_VERSION = 1


class Checkpoint(NamedTuple):
    """What a checkpoint says beside the weights."""

    path: Path
    progress: dict[str, Any]  # epoch, batch, history, ...
    states: list[tuple[str, dict]]  # of callbacks
    unsaved: list[np.ndarray]  # variables that Keras does not save
    checksum: int


def write(
    path: Path, previous: Path | None, model: keras.Model, progress: dict, states: list[tuple[str, dict]]
) -> None:
    """Writes a checkpoint; what stood under `path` becomes `previous`, unless that is `None`.

    Whole files take the names, or none; what has a name is on the disk, also when the power goes.
    """
    arrays = _state.arrays_of(_state.unsaved_variables(model))
    about = {
        "version": _VERSION,
        "unsaved": len(arrays),
        "checksum": _state.checksum(_state.variables(model)),
        "progress": progress,
        "states": [[name, _state.pack(state, arrays)] for name, state in states],
    }
    with _files.replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive, io.BytesIO() as buffer:
            np.savez(buffer, *arrays)
            archive.writestr("training.npz", buffer.getvalue())
            archive.writestr("training.json", json.dumps(about))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)


def read(path: Path, previous: Path) -> Checkpoint | None:
    """Reads the newest checkpoint that is whole; `None` if there is none at all.

    Raises:
        ValueError: If there are checkpoints and none is whole, or they are of a newer version.
    """
    damaged = []
    for one in (path, previous):
        if not one.exists():
            continue
        try:
            checkpoint = _read(one)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            damaged.append(f"{str(one)!r}: {error}")
            continue
        if damaged:
            logger.warning("The newest checkpoint is damaged (%s). Going on from %r.", damaged[0], str(one))
        return checkpoint
    if damaged:
        raise ValueError(
            f"A run goes on from a whole checkpoint. Received: {'; '.join(damaged)}. "
            "Train in another folder, or remove these files to begin anew."
        )
    return None


def _read(path: Path) -> Checkpoint:
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{broken!r} inside it is damaged")
        if "training.json" not in archive.namelist():
            raise ValueError("a model without the state of its training")
        about = json.loads(archive.read("training.json"))
        if about["version"] > _VERSION:
            raise ValueError(f"of format {about['version']}; this gruvlike reads up to {_VERSION}: update it")
        with np.load(io.BytesIO(archive.read("training.npz")), allow_pickle=False) as stored:
            arrays = [stored[f"arr_{k}"] for k in range(len(stored.files))]
    states = [(name, _state.unpack(state, arrays)) for name, state in about["states"]]
    return Checkpoint(path, about["progress"], states, arrays[: about["unsaved"]], about["checksum"])


def restore(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Puts all variables of `model`, its optimizer and its random generators back to where they were.

    Raises:
        ValueError: If any bit of them is not what was saved, or the normalizer was fitted to other music. The model is
            then as it was.
    """
    variables = _state.variables(model)
    before, statistics = _state.arrays_of(variables), model.normalizer.get_weights()
    try:
        _load(checkpoint, model)
        if not all(map(_close, statistics, model.normalizer.get_weights())):
            raise ValueError(
                "A run goes on with the corpus, the encoder and the network that it began with. "
                f"Received: {str(checkpoint.path.parent)!r}, where the normalizer's statistics are others. "
                "Fit it to the same music, or use another folder for another run."
            )
    except ValueError:
        _state.assign(variables, before)
        raise


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether statistics agree to what another processor, which sums in another order, may make of the same music."""
    return np.allclose(one, other, rtol=1e-4, atol=1e-5 * float(np.abs(other).max(initial=0)))


def _load(checkpoint: Checkpoint, model: keras.Model) -> None:
    model.load_weights(checkpoint.path)
    _state.assign(_state.unsaved_variables(model), checkpoint.unsaved)
    if _state.checksum(_state.variables(model)) != checkpoint.checksum:
        raise ValueError(
            f"A checkpoint must fit the model to the last bit. Received: {str(checkpoint.path)!r}, whose values "
            "cannot all be given to this model. Use the model, the precision and the Keras it was trained with."
        )
