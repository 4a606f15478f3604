"""Loading a saved model: the contents of the file are checked before Keras opens it."""

import logging
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike.models._archive import DAMAGE, WEIGHTS, check_whole, opened, read_json, stored_numbers
from gruvlike.models._audio_model import AudioModel
from gruvlike.models._declared import check_declared

logger = logging.getLogger(__name__)

_OF_RUN = ("best", "newest", "previous")
_NEEDED = ("config.json", "metadata.json", WEIGHTS)


def load(
    path: str | os.PathLike, custom_objects: Mapping[str, Any] | None = None, compile: bool | None = None
) -> AudioModel:
    """Loads a model that `AudioModel.save` wrote. Never runs code from the file.

    Args:
        path: A `.keras` file; or the folder of a run, of which the best model is loaded, or without one the newest.
        custom_objects: Classes and functions of your own in the model, by their names, unless they are registered by
            `keras.saving.register_keras_serializable`.
        compile: Whether the model is compiled as it was when it was saved, which `fit` and `evaluate` need. `None`:
            it is if that is possible, else a line in the log says why not, as for a loss of your own that is not known
            here.

    Returns:
        The `AudioModel`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of a newer format, not an `AudioModel`, or out of proportion; the message says
            which.

    Example:
        >>> load("no_such_run.keras")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no model file 'no_such_run.keras'. ...
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}. Looked in {str(path.resolve().parent)!r}.")
    if path.is_dir():
        path = _of_run(path)
    has_compilation = _check_file(path)
    try:
        return _loaded(path, custom_objects, compile=compile is not False)
    except Exception as error:  # Keras raises whatever the settings in the file lead to
        if compile is None and has_compilation:
            try:
                model = _loaded(path, custom_objects, compile=False)
            except Exception as without:
                raise _failed(path, without) from without
            logger.warning(
                "The model %r is loaded without its loss, metrics and optimizer: %s Songs need none of them; call "
                "`compile` before `fit`.",
                str(path),
                _why(error),
            )
            return model
        raise _failed(path, error) from error


def _of_run(path: Path) -> Path:
    found = next((file for name in _OF_RUN if (file := path / f"{name}.keras").is_file()), None)
    if found is None:
        raise ValueError(
            f"A model is one `.keras` file, or the folder of a run that holds one. Received: the folder {str(path)!r}."
        )
    return found


def _loaded(path: Path, custom_objects: Mapping[str, Any] | None, compile: bool) -> AudioModel:
    own = None if custom_objects is None else dict(custom_objects)
    model = keras.saving.load_model(path, custom_objects=own, compile=compile, safe_mode=True)
    bad = [one.path for one in (*model.stack.weights, *model.normalizer.weights) if not _is_finite(one)]
    if bad:
        raise ValueError(f"its weights are NaN or infinite ({bad[0]}): its training has diverged, or it was damaged")
    return model


def _is_finite(weight: keras.Variable) -> bool:
    values = keras.ops.convert_to_numpy(weight)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _failed(path: Path, error: Exception) -> ValueError:
    return ValueError(f"The model file {str(path)!r} could not be loaded: {_why(error)}")


def _why(error: Exception) -> str:
    """Returns the reason of an error and its remedy. The remedy that Keras names would be an argument of its own."""
    text = _checks.words_of(error).removeprefix("ValueError: ")
    if found := re.search(r"Could not locate (?:class|function) '([^']+)'", text):
        name = found[1]
        return (
            f"it was made with {name!r}, which is not known here. Import the module that registers it by "
            f"`keras.saving.register_keras_serializable`, or give `load(..., custom_objects={{{name!r}: {name}}})`."
        )
    if "safe_mode" in text or "lambda" in text.lower():
        return (
            "it holds code (a lambda), which is never run. Make the model with a named function or a layer of your "
            "own, registered by `keras.saving.register_keras_serializable`, and save it again."
        )
    return text if len(text) < 1000 else f"{text[:1000]}..."


def _check_file(path: Path) -> bool:
    """Raises unless `path` is a whole `.keras` archive of an `AudioModel`; says which kind of file it is instead.

    Returns:
        Whether it says how the model was compiled.
    """
    if not path.is_file():
        raise ValueError(f"A model is one `.keras` file. Received: {str(path)!r}, which is no plain file.")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(8)
        raise ValueError(
            f"A `.keras` file is a zip archive. Received: {str(path)!r}, {path.stat().st_size} bytes that start with "
            f"{start!r}: {_describe(start)}."
        )
    try:
        with opened(path) as archive:
            names = archive.namelist()
            if not set(_NEEDED) <= set(names):
                raise ValueError(f"it holds {names[:5]}")
            check_whole(archive, [name for name in names if name in _NEEDED or name.startswith("assets")])
            config = read_json(archive, "config.json")
            if config.get("registered_name") == "gruvlike>AudioModel":
                check_declared(config, stored_numbers(archive, path))
    except DAMAGE as error:
        raise ValueError(
            f"A model file must be a whole `.keras` archive. Received: {str(path)!r}: {error}. Save the model again."
        ) from error
    if config.get("registered_name") != "gruvlike>AudioModel":
        raise ValueError(
            f"`load` reads models saved by `AudioModel.save`. Received: {str(path)!r}, which holds a "
            f"{config.get('class_name')!r}. Load it with `keras.saving.load_model` and give it to "
            "`Generator(stack, encoder=..., normalizer=..., sample_rate=...)`."
        )
    return bool(config.get("compile_config"))


def _describe(start: bytes) -> str:
    known = {
        b"\x89HDF": "an HDF5 file (a corpus?)",
        b"RIFF": "a WAV file",
        b"OggS": "an Ogg file",
        b"fLaC": "a FLAC file",
    }
    if start[:2] == b"PK":
        return "a zip archive that was cut short or damaged"
    return known.get(start[:4], "not a model, or a damaged one")
