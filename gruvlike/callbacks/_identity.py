"""The identity of a run: music, windows, model and optimizer as plain data, by which two runs are compared."""

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gruvlike import __version__
from gruvlike._contracts import Music, Track, WindowsLike
from gruvlike.callbacks._fitting import FitCall
from gruvlike.callbacks._progress import Progress
from gruvlike.corpus import Corpus
from gruvlike.corpus import Track as CorpusTrack

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

_WINDOWS = ("span", "hop", "batch_size", "offset", "shuffle", "random_seed", "shard", "stateful")
_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy")

Identity = dict[str, Any]


def identity(call: FitCall) -> Identity:
    """Returns everything that must be the same for a run to be resumed, ready for JSON."""
    model, windows, validation = call.model, call.x, call.validation
    config = model.get_config()
    del config["format_version"]  # the version is that of the file, whatever is in it
    found = {
        "corpus": _music(windows),
        "validation": {"split": call.validation_split} if call.validation_split else _music(validation),
        "encoder": config.pop("encoder"),
        "normalizer": config.pop("normalizer"),  # its statistics are compared where they are loaded, to some digits
        "network": config.pop("stack"),
        "head": config.pop("head"),
        "model": config,
        "windows": _settings(windows),
        "validation windows": _settings(validation),
        "loss": keras.saving.serialize_keras_object(model.loss),
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
    }
    return json.loads(json.dumps(_plain(found), default=str))


def check_same(then: Identity, now: Identity, directory: Path) -> None:
    """Raises unless two identities are of one run. The learning rate may differ if both are numbers.

    Raises:
        ValueError: With the places where they differ.
    """
    then = {**then, "model": {**then["model"]}}  # `Progress` has seen to it that there is one
    if then["model"].pop("format_version", None) and now["head"]["class_name"] == "Point":
        then["head"] = now["head"]  # the run began before there were heads
    if learning_rate(then) is not None and learning_rate(now) is not None:
        config = {**now["optimizer"]["config"], "learning_rate": learning_rate(then)}
        now = {**now, "optimizer": {**now["optimizer"], "config": config}}
    if found := list(differences(then, now)):
        raise ValueError(
            "A run goes on with the corpus, the encoder and the network that it began with. "
            f"Received: {str(directory)!r}, where {'; '.join(found[:3])}"
            f"{f'; and {len(found) - 3} more' if found[3:] else ''}. Use another folder for another run."
        )


def learning_rate(identity: Identity) -> float | None:
    """Returns the learning rate that the optimizer was made with; `None` if it is a schedule."""
    rate = identity["optimizer"]["config"].get("learning_rate")
    return rate if isinstance(rate, float) else None


def describe(call: FitCall, progress: Progress, test: Iterable[Track] | None) -> dict[str, Any]:
    """Returns the settings of a run, ready for JSON: the identity, versions, random seeds, and which music is where."""
    corpora = {"train": call.windows, "validation": call.validation_windows}
    music = {part: None if windows is None else windows.corpus for part, windows in corpora.items()}
    files = {part: str(tracks.file.absolute()) for part, tracks in music.items() if isinstance(tracks, Corpus)}
    return {
        "what": "a run of gruvlike",
        "versions": progress.versions,
        "random_seed": _random_seeds(call.model, call.x),
        "baselines": progress.baselines,
        "corpora": files,
        "parts": {part: [_about(track) for track in tracks or ()] for part, tracks in {**music, "test": test}.items()},
        **progress.identity,
    }


def _random_seeds(model: "AudioModel", windows: object) -> dict[str, Any]:
    """Returns the integers that all randomness depends on; `None`, or nothing, where none was given."""
    found = {"windows": _settings(windows).get("random_seed"), "model": model.random_seed}
    return {**found, "network": sorted(set(_seeds(_plain(keras.saving.serialize_keras_object(model.stack)))))}


def _seeds(value: object, name: str = "") -> Iterator[int]:
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _seeds(one, inner)
    elif isinstance(value, list):
        for one in value:
            yield from _seeds(one)
    elif name == "seed" and isinstance(value, int):
        yield value


def _about(track: Track) -> dict[str, Any]:
    """Says which music a track is. A track of the user's own knows no file, so its samples stand for it."""
    if isinstance(track, CorpusTrack):
        source, start, stop = track.source, track.start, track.stop
        return {"name": track.name, "source": source, "hash": track.hash, "start": start, "stop": stop}
    return {"name": track.name, "source": None, "hash": _digest(track.pcm), "start": 0, "stop": len(track)}


def versions() -> dict[str, str]:
    """Returns the versions of all that computes: gruvlike, Python, Keras, its backend."""
    found = {"gruvlike": __version__, "python": platform.python_version(), "backend": keras.backend.backend()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def differences(then: object, now: object, path: str = "") -> Iterator[str]:
    """Yields each place where two identities differ, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        # A registered class is known by its registered name: it may move to another file of the package.
        ignored = {"module"} if then.get("registered_name") else set()
        for name in [*then, *(name for name in now if name not in then)]:
            if name in ignored:
                continue
            inner = path if name == "config" else f"{path}.{name}" if path else name
            yield from differences(then.get(name), now.get(name), inner)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from differences(old, new, f"{path}[{index}]")
    elif then != now:
        yield f"{path} was {_short(then)} and is {_short(now)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _music(windows: object) -> object:
    if not isinstance(windows, WindowsLike):
        arrays = {"samples": windows} if isinstance(windows, np.ndarray) else windows
        if not isinstance(arrays, dict) or not all(isinstance(one, np.ndarray) for one in arrays.values()):
            return type(windows).__name__
        return {"samples" if name == "pcm" else name: _digest(one) for name, one in arrays.items()}
    music: Music = windows.corpus
    tracks = [(one["name"], one["hash"], one["start"], one["stop"]) for one in map(_about, music)]
    return {
        "tracks": len(tracks),
        "seconds": sum(map(len, music)) / music.sample_rate,
        "sample_rate": music.sample_rate,
        "hash": _digest(tracks),
    }


def _settings(windows: object) -> dict[str, Any]:
    """Returns the settings of windows; windows of the user's own may have fewer of them."""
    found = vars(windows) if isinstance(windows, WindowsLike) else {}
    return {name: found[name] for name in _WINDOWS if name in found}


def _digest(value: object) -> str:
    data = np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def _plain(value: object, is_name: bool = False) -> Any:
    """Removes the numbers that Keras gives to the layers of a process ("dense_7"): another process counts anew."""
    if isinstance(value, dict):
        names = ("name", "keras_history", "input_layers", "output_layers")
        return {name: _plain(one, is_name or name in names) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, is_name) for one in value]
    return re.sub(r"_\d+$", "", value) if is_name and isinstance(value, str) else value
