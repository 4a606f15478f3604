"""A checkpoint: a model file (`.keras`) that also holds all that a run needs to be resumed exactly.

Two more members in the archive, which Keras ignores: `training.json` (the progress of the run, the states of callbacks)
and `training.npz` (the arrays of these, random states, metrics). Reading runs no code.
"""

import io
import json
import logging
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gruvlike import _checks, _files
from gruvlike.callbacks import _state
from gruvlike.callbacks._progress import Progress
from gruvlike.models._archive import DAMAGE, check_whole, opened, read_json, stored_numbers

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

logger = logging.getLogger(__name__)

_VERSION = 1
_METRICS = "metrics"  # the averages of an epoch stand among the states, under this name


class Checkpoint(NamedTuple):
    """The contents of a checkpoint, but for the variables that Keras saves.

    Attributes:
        path: The file.
        progress: How far the run was.
        states: (name, state) of each callback that has one.
        metrics: The values of the metrics' variables by their paths.
        unsaved: The values of the variables that Keras does not save.
        checksum: Of all variables but metrics.
    """

    path: Path
    progress: Progress
    states: list[_state.NamedState]
    metrics: dict[str, np.ndarray]
    unsaved: list[np.ndarray]
    checksum: int


def write(
    path: Path, previous: Path | None, model: "AudioModel", progress: Progress, states: Sequence[_state.NamedState]
) -> None:
    """Writes a checkpoint; the file that stood under `path` becomes `previous`, unless that is `None`.

    A file is complete, and on the disk, before it takes its name: neither a crash nor a power cut can damage it.
    """
    arrays = _state.arrays_of(_state.unsaved_variables(model))
    variables = model.metrics_variables
    metrics = dict(zip([v.path for v in variables], _state.arrays_of(variables), strict=True))
    about = {
        "version": _VERSION,
        "unsaved": len(arrays),
        "checksum": _state.checksum(_state.variables(model)),
        "progress": progress.to_json(),
        "states": [[name, _state.pack(state, arrays)] for name, state in [*states, (_METRICS, metrics)]],
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
    damaged: list[str] = []
    for one in (path, previous):
        if not one.exists():
            continue
        try:
            checkpoint = _read(one)
        except DAMAGE as error:
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
    with opened(path) as archive:
        names = archive.namelist()
        if not {"training.json", "training.npz"} <= set(names):
            raise ValueError("a model without the state of its training")
        check_whole(archive, names)
        about = read_json(archive, "training.json")
        _check_about(about)
        stored_numbers(archive, path)
        arrays = _arrays_in(archive.read("training.npz"))
    *states, (_, metrics) = [(name, _state.unpack(state, arrays)) for name, state in about["states"]]
    if about["unsaved"] > len(arrays) or not all(isinstance(state, dict) for _, state in [*states, ("", metrics)]):
        raise ValueError("the states in it cannot be those of a run")
    progress = Progress.from_json(about["progress"])
    return Checkpoint(path, progress, states, metrics, arrays[: about["unsaved"]], about["checksum"])


def _check_about(about: dict[str, Any]) -> None:
    """Raises unless `training.json` has the parts that are read, of their types."""
    for name, kind in (("version", int), ("unsaved", int), ("checksum", int), ("states", list), ("progress", dict)):
        if not isinstance(about.get(name), kind) or (kind is int and about[name] < 0):
            raise ValueError(f"{name!r} in its training.json cannot be that of a run")
    if about["version"] > _VERSION:
        raise ValueError(f"of format {about['version']}; this gruvlike reads up to {_VERSION}: update it")
    pairs = [one for one in about["states"] if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str)]
    if len(pairs) < len(about["states"]) or not pairs or pairs[-1][0] != _METRICS:
        raise ValueError("the states in its training.json cannot be those of a run")


def _arrays_in(data: bytes) -> list[np.ndarray]:
    """Returns the arrays of an `.npz`. None is larger than its bytes, and none holds objects, which could be code."""
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [archive.getinfo(f"arr_{number}.npy") for number in range(len(archive.namelist()))]
        if sum(one.file_size for one in members) > len(data):
            raise ValueError("its training.npz says that it holds more than it has bytes")
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename!r} in its training.npz is no array of numbers of its size")
            with archive.open(member) as file:
                found.append(np.lib.format.read_array(file, allow_pickle=False))
    return found


@contextmanager
def believed(checkpoint: Checkpoint | None) -> Iterator[None]:
    """Whatever the states of a checkpoint lead to in this block, the error names the file."""
    try:
        yield
    except Exception as error:  # forged states can make a callback raise anything
        if checkpoint is None:
            raise
        raise ValueError(
            f"The states of a run must be those of its callbacks and metrics. Received: {str(checkpoint.path)!r}: "
            f"{_checks.words_of(error)}. Remove the file to go on from the one before, or train in another folder."
        ) from error


def restore(checkpoint: Checkpoint, model: "AudioModel") -> None:
    """Gives all variables of `model`, its optimizer and its random generators the values of the checkpoint.

    Raises:
        ValueError: If any bit of them is not as it was saved, or the normalizer was fitted to other music. The model is
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
    except Exception as error:  # Keras raises whatever the weights in the file lead to
        _state.assign(variables, before)
        if isinstance(error, ValueError) and str(checkpoint.path.parent) in str(error):
            raise
        raise ValueError(
            "A run goes on with a checkpoint that fits the model. "
            f"Received: {str(checkpoint.path)!r}: {_checks.words_of(error)}"
        ) from error


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether statistics of the same music agree; another processor sums in another order and gets other digits."""
    return np.allclose(one, other, rtol=1e-4, atol=1e-5 * float(np.abs(other).max(initial=0)))


def _load(checkpoint: Checkpoint, model: "AudioModel") -> None:
    model.load_weights(checkpoint.path)
    _state.assign(_state.unsaved_variables(model), checkpoint.unsaved)
    if _state.checksum(_state.variables(model)) != checkpoint.checksum:
        raise ValueError(
            f"A checkpoint must fit the model to the last bit. Received: {str(checkpoint.path)!r}, whose values "
            "cannot all be given to this model. Use the model, the precision and the Keras it was trained with."
        )
