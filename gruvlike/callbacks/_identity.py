"""What a run is: the music, the windows, the model and the optimizer, as plain data that two runs are compared by."""

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gruvlike import __version__

_WINDOWS = ("span", "hop", "batch_size", "offset", "shuffle", "random_seed", "shard", "stateful")
_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy")


def identity(model: Any, windows: Any, validation: Any) -> dict[str, Any]:
    """Returns what must be the same for a run to go on, ready for JSON."""
    config = model.get_config()
    found = {
        "corpus": _music(windows),
        "validation": _music(validation),
        "encoder": config.pop("encoder"),
        "normalizer": config.pop("normalizer"),  # its statistics are compared where they are loaded, to some digits
        "network": config.pop("stack"),
        "model": config,
        "windows": _settings(windows),
        "validation windows": _settings(validation),
        "loss": keras.saving.serialize_keras_object(model.loss),
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
    }
    return json.loads(json.dumps(_plain(found), default=str))


def random_seeds(model: Any, windows: Any) -> dict[str, Any]:
    """Returns the integers that decide what is random, as far as they were given: `None` or nothing if not."""
    found = {"windows": getattr(windows, "random_seed", None), "model": model.random_seed}
    return {**found, "network": sorted(set(_seeds(_plain(keras.saving.serialize_keras_object(model.stack)))))}


def _seeds(value: Any, name: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _seeds(one, inner)
    elif isinstance(value, list):
        for one in value:
            yield from _seeds(one)
    elif name == "seed" and isinstance(value, int):
        yield value


def parts(**corpora: Any) -> dict[str, list[dict]]:
    """Returns which tracks, and which part of each, belong to which part of a split."""
    names = ("name", "source", "hash", "start", "stop")
    return {
        part: [{name: getattr(track, name) for name in names} for track in corpus or ()]
        for part, corpus in corpora.items()
    }


def versions() -> dict[str, str]:
    """Returns the versions of what computes."""
    found = {"gruvlike": __version__, "python": platform.python_version(), "backend": keras.backend.backend()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yields each place where two identities differ, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            inner = path if name == "config" else f"{path}.{name}" if path else name
            yield from differences(then.get(name), now.get(name), inner)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from differences(old, new, f"{path}[{index}]")
    elif then != now:
        yield f"{path} was {_short(then)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _music(windows: Any) -> Any:
    corpus = getattr(windows, "corpus", None)
    if corpus is None:
        pcm = windows[0] if isinstance(windows, list | tuple) else windows
        return {"samples": _digest(pcm)} if isinstance(pcm, np.ndarray) else type(windows).__name__
    tracks = [(track.name, track.hash, track.start, track.stop) for track in corpus]
    return {
        "tracks": len(tracks),
        "seconds": corpus.seconds,
        "sample_rate": corpus.sample_rate,
        "hash": _digest(tracks),
    }


def _settings(windows: Any) -> dict[str, Any]:
    return {name: getattr(windows, name) for name in _WINDOWS if hasattr(windows, name)}


def _digest(*values: Any) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:16]


def _plain(value: Any, is_name: bool = False) -> Any:
    """Keras numbers the layers of a process ("dense_7"): the number says nothing about the network."""
    if isinstance(value, dict):
        names = ("name", "keras_history", "input_layers", "output_layers")
        return {name: _plain(one, is_name or name in names) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, is_name) for one in value]
    return re.sub(r"_\d+$", "", value) if is_name and isinstance(value, str) else value
