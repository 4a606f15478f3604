"""Loading a saved model: the contents of the file are checked before Keras opens it."""

import json
import os
import zipfile
import zlib
from pathlib import Path

import keras

from gruvlike.models._audio_model import AudioModel


def load(path: str | os.PathLike) -> AudioModel:
    """Loads a model that `AudioModel.save` wrote. Never runs code from the file.

    Args:
        path: A `.keras` file.

    Returns:
        The `AudioModel`, compiled as it was when it was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of a newer format, or not an `AudioModel`; the message says which.

    Example:
        >>> load("no_such_run.keras")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no model file 'no_such_run.keras'. ...
    """
    # Keras finds a class of ours only after the module that registers it has been imported.
    from gruvlike import encoders, normalizers  # noqa: F401
    from gruvlike.models import _activations  # noqa: F401

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}. Looked in {str(path.resolve().parent)!r}.")
    _check_archive(path)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ValueError(f"The model file {str(path)!r} could not be loaded: {error}") from error
    return model


def _check_archive(path: Path) -> None:
    """Raises unless `path` is a whole `.keras` archive of an `AudioModel`; says which kind of file it is instead."""
    if path.is_dir():
        raise ValueError(f"A model is one `.keras` file. Received: the folder {str(path)!r}.")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(8)
        raise ValueError(
            f"A `.keras` file is a zip archive. Received: {str(path)!r}, {path.stat().st_size} bytes that start with "
            f"{start!r}: {_describe(start)}."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
                raise ValueError(f"it holds {names[:5]}")
            if broken := archive.testzip():
                raise ValueError(f"{broken!r} inside it is damaged")
            config = json.loads(archive.read("config.json"))
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(
            f"A model file must be a whole `.keras` archive. Received: {str(path)!r}: {error}. Save the model again."
        ) from error
    if config.get("registered_name") != "gruvlike>AudioModel":
        raise ValueError(
            f"`load` reads models saved by `AudioModel.save`. Received: {str(path)!r}, which holds a "
            f"{config.get('class_name')!r}. Load it with `keras.saving.load_model` and give it to "
            "`Generator(stack, encoder=..., normalizer=..., sample_rate=...)`."
        )


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
