"""Runs to listen to: the model of a run folder, its music, its history and its settings."""

import json
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gruvlike._checks import as_float
from gruvlike.callbacks._records import BASELINES
from gruvlike.callbacks._summary import read_rows
from gruvlike.corpus import Corpus, Track
from gruvlike.models import AudioModel, load

_MODELS = ("best", "newest", "previous")
# The settings of a run that was made by a script, which has no recipe.
_DEEPEST = 8
_PARTS = ("encoder", "normalizer", "head", "loss", "optimizer", "windows")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained model, and all about it that a page shows. `read_run` makes it from a run folder.

    Args:
        name: The title of the run.
        model: The model.
        held_out: Tracks of a corpus, or sections of them, that seeds are taken from: music that the model has not
            seen. A `Corpus`, or a list.
        music: Tracks of a corpus that songs are compared with: the music that the model was trained on.
        history: Name -> one value an epoch, as `fit(...).history`.
        baselines: Name -> loss of a trivial predictor.
        settings: Name -> value, in any depth.
        versions: Package -> version.
        command: The command line that made the run.
        notes: Sentences that the page shows.
    """

    name: str
    model: AudioModel
    held_out: Iterable[Track]
    music: Iterable[Track]
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: Sequence[str] = ()


def read_run(directory: str | os.PathLike[str], corpus: str | os.PathLike[str] | None = None) -> Run:
    """Reads a run folder: its best model, the music that it holds out, its history, settings and versions.

    Args:
        directory: The folder that `gruvlike train`, or `callbacks.run_callbacks`, made.
        corpus: The corpus file of the run. `None` takes the one that the folder names.

    Returns:
        A `Run`. Where the run holds out no music, seeds are from the music that it was trained on, and a note says so.

    Raises:
        FileNotFoundError: If there is no such run, or no longer its corpus.
        ValueError: If the folder is no whole run, names no corpus, or the corpus does not hold its music.

    Example:
        >>> read_run("runs/none")
        Traceback (most recent call last):
        FileNotFoundError: A run is a folder with a `config.json`. Received: 'runs/none'...
    """
    directory = Path(directory)
    config = _config(directory)
    model = load(_model_file(directory))
    parts = {name: _sections(directory, config, name, corpus) for name in ("train", "validation")}
    if not parts["train"]:
        raise ValueError(
            "Seeds are taken from the corpus of a run. Received: "
            f"{str(directory)!r}, which was trained on no windows of a `Corpus`."
        )
    rate = parts["train"][0].sample_rate
    if rate != model.sample_rate:
        raise ValueError(
            f"The corpus must have the {model.sample_rate} Hz of the model of {str(directory)!r}. Received: {rate} Hz."
        )
    held_out, notes = parts["validation"], []
    if not held_out:
        held_out, notes = parts["train"], ["This run holds out no music: its seeds are music that it was trained on."]
    return Run(
        name=directory.resolve().name,
        model=model,
        held_out=held_out,
        music=parts["train"],
        history=_history(directory / "history.jsonl"),
        baselines={BASELINES.get(name, name): loss for name, loss in _numbers(config.get("baselines")).items()},
        settings=config.get("recipe") or {name: config[name] for name in _PARTS if name in config},
        versions={str(name): str(version) for name, version in _mapping(config.get("versions")).items()},
        command=str(_mapping(config.get("notes")).get("command") or ""),
        notes=notes,
    )


def flat(settings: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yields (dotted name, value) of each setting that is not empty.

    Example:
        >>> list(flat({"network": {"cell": "gru", "units": [8, 8]}, "epochs": None}))
        [('network.cell', 'gru'), ('network.units', '8, 8')]
    """
    if isinstance(settings, Mapping | list) and depth > _DEEPEST:
        yield path, "..."
    elif isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from flat(value, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(settings, list | tuple):
        if any(isinstance(one, Mapping | list) for one in settings):
            yield from flat(dict(enumerate(settings)), path, depth)
        elif settings:
            yield path, ", ".join(map(str, settings))
    elif settings is not None:
        yield path, str(settings)


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"A run is a folder with a `config.json`. Received: {str(directory)!r}. Name the folder that "
            "`gruvlike train` made."
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The settings of a run are JSON. Received: {str(path)!r}: {error}.") from error
    parts = _mapping(_mapping(config).get("parts"))
    if not parts or not all(isinstance(tracks, list) for tracks in parts.values()):
        raise ValueError(f"The settings of a run say which music it has. Received: {str(path)!r}, which does not.")
    return config


def _model_file(directory: Path) -> Path:
    for path in (directory / f"{name}.keras" for name in _MODELS):
        if path.is_file():
            return path
    raise FileNotFoundError(f"A run has a model. Received: {str(directory)!r}, without one. Train it for an epoch.")


def _sections(
    directory: Path, config: Mapping[str, Any], part: str, corpus: str | os.PathLike[str] | None
) -> list[Track]:
    """Returns the sections of the corpus that are a part of the run's music."""
    wanted = config["parts"].get(part) or []
    if not wanted:
        return []
    file = corpus or _mapping(config.get("corpora")).get(part)
    if file is None:
        raise ValueError(
            f"The corpus of a run must be known. Received: {str(directory)!r}, which does not name it. Give it: "
            "`corpus=`, or `--corpus music.h5`."
        )
    if not Path(str(file)).is_file():
        raise FileNotFoundError(
            f"The corpus of the run {str(directory)!r} must be there. Received: {str(file)!r}, where there is no file. "
            "Say where it is: `corpus=`, or `--corpus music.h5`."
        )
    tracks = {track.hash: track for track in Corpus(str(file))}
    return [_section(about, tracks, str(file), directory) for about in wanted]


def _section(about: Any, tracks: Mapping[str, Track], file: str, directory: Path) -> Track:
    try:
        track, start, stop = tracks[about["hash"]], about["start"], about["stop"]
    except (KeyError, TypeError):
        name = _mapping(about).get("name")
        raise ValueError(
            f"The corpus must hold the music of the run {str(directory)!r}. Received: {file!r}, without {name!r}. Give "
            "the corpus that the run was trained on: `corpus=`, or `--corpus music.h5`."
        ) from None
    if not (type(start) is type(stop) is int and 0 <= start < stop <= len(track)):
        raise ValueError(
            f"A section of a track lies within it. Received: {start!r} to {stop!r} of the {len(track)} samples of "
            f"{track.name!r}, in the settings of the run {str(directory)!r}. Give the corpus that the run was trained "
            "on: `corpus=`, or `--corpus music.h5`."
        )
    return replace(track, start=start, stop=stop)


def _history(path: Path) -> dict[str, list[float]]:
    """Returns the columns of a history; a value that is no number is NaN."""
    rows = [_numbers(row) for row in read_rows(path)]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, math.nan) for row in rows] for name in names}


def _numbers(value: object) -> dict[str, float]:
    found = _mapping(value).items()
    return {str(name): as_float(one) for name, one in found if isinstance(one, numbers.Real)}


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
