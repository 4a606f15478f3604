"""Before a model is saved: its name, and a word if it will not be loaded again just so."""

import logging
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import keras

logger = logging.getLogger(__name__)

_WARNED: "weakref.WeakSet[keras.Model]" = weakref.WeakSet()  # a run saves one model many times


def check_target(filepath: str | os.PathLike, overwrite: bool) -> Path:
    """Returns the path of a file to save, or raises if its name is none of a model, or there is one already."""
    path = Path(filepath)
    if path.suffix != ".keras":
        raise ValueError(f"A model is saved under a name that ends in `.keras`. Received: {str(path)!r}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"The file exists: {str(path)!r}. Give `overwrite=True` or another name.")
    return path


def warn_of_unknown(model: keras.Model) -> None:
    """Says, once for a model, which of its parts `load` will not find by itself."""
    if model in _WARNED:
        return
    _WARNED.add(model)
    parts = dict.fromkeys(_unknown(model.get_config()))
    compilation = dict.fromkeys(_unknown(model.get_compile_config() if model.compiled else None))
    for names, without in ((parts, "cannot be loaded"), (compilation, "will be loaded without its loss and optimizer")):
        if names:
            logger.warning(
                "The saved model %s unless it is told of %s: register it by "
                "`keras.saving.register_keras_serializable` (a lambda: make it a function first), or give "
                "`load(..., custom_objects=...)`.",
                without,
                ", ".join(names),
            )


def _unknown(config: object) -> Iterator[str]:
    """Yields the names of classes and functions in a configuration that Keras finds only if it is told where."""
    if isinstance(config, list | tuple):
        for one in config:
            yield from _unknown(one)
    elif isinstance(config, dict):
        name = config.get("class_name")
        if name == "__lambda__":
            yield "a lambda"
        elif name == "function":
            if not _is_known_function(str(config.get("config"))):
                yield repr(config.get("config"))
        elif isinstance(name, str) and not _is_known_class(name, config):
            yield repr(name)
        for one in config.values():
            yield from _unknown(one)


def _is_known_class(name: str, config: dict[str, object]) -> bool:
    if "registered_name" not in config or str(config.get("module")).split(".")[0] == "keras":
        return True
    return keras.saving.get_registered_object(config["registered_name"] or name) is not None


def _is_known_function(name: str) -> bool:
    homes = keras.activations, keras.losses, keras.metrics, keras.initializers
    return keras.saving.get_registered_object(name) is not None or any(hasattr(home, name) for home in homes)
