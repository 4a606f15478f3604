"""The records of a run for people: histories and the learning curve."""

import csv
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from gruvlike import _files, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

BASELINES = {"mean": "predicting the mean", "repeat": "repeating the last frame", "linear": "linear prediction"}

Row = Mapping[str, float]


def numbers(logs: Mapping[str, object]) -> dict[str, float]:
    """Returns the numbers of an epoch; anything else that a callback has put there is not kept."""
    found = {}
    for name, value in logs.items():
        try:
            found[str(name)] = float(cast("float", value))
        except (TypeError, ValueError, OverflowError):
            logger.debug("%r of the epoch is no number: it is not kept.", name)
    return found


def write_histories(directory: Path, rows: Sequence[Row]) -> None:
    """Makes the histories those of a checkpoint: epochs after it are trained again."""
    texts = {"history.jsonl": "".join(map(_json_line, rows)), "history.csv": _csv(rows)}
    for name, text in texts.items():
        path = directory / name
        # Rows are added to these files, and never to one elsewhere, or to a pipe, which waits for a reader.
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            path.unlink(missing_ok=True)
        old = path.read_bytes() if path.exists() else None
        if old is not None and rows and not old.startswith(text.encode()):
            logger.warning("%r is not what this run wrote; it is written anew from the checkpoint.", str(path))
        if old != text.encode() and (old is not None or text):
            with _files.replacing(path) as temporary:
                temporary.write_bytes(text.encode())


def add(directory: Path, rows: Sequence[Row]) -> None:
    """Adds the last of these epochs to the histories; the table is written anew where it gets another column."""
    with open(directory / "history.jsonl", "a", encoding="utf-8") as file:
        file.write(_json_line(rows[-1]))
    path, names = directory / "history.csv", _names(rows)
    if names != _names(rows[:-1]) or not path.exists():
        with _files.replacing(path) as temporary:
            temporary.write_bytes(_csv(rows).encode())
    else:
        with open(path, "a", encoding="utf-8", newline="") as file:
            _writer(file, names).writerow(rows[-1])


def draw(directory: Path, rows: Sequence[Row], baselines: Mapping[str, float]) -> None:
    """Draws the learning curve, if there is a number to draw."""
    columns = {name: [row.get(name, math.nan) for row in rows] for name in rows[-1]}
    if not np.isfinite(columns.get("relative_loss", columns.get("loss", [math.nan]))).any():
        return
    axes = plots.learning_curves(columns, {BASELINES.get(name, name): loss for name, loss in baselines.items()})
    with _files.replacing(directory / "learning_curve.png") as temporary:
        cast("Figure", axes.figure).savefig(temporary)


def _json_line(row: Row) -> str:
    """Returns a line of strict JSON, which has neither NaN nor infinity: they become null."""
    return json.dumps({name: value if math.isfinite(value) else None for name, value in row.items()}) + "\n"


def _csv(rows: Sequence[Row]) -> str:
    """Returns the table of these epochs, as `keras.callbacks.CSVLogger` writes it."""
    if not rows:
        return ""
    text = io.StringIO(newline="")
    writer = _writer(text, _names(rows))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _names(rows: Sequence[Row]) -> list[str]:
    """Returns the columns of the table: the numbers of the first epoch by name, then those that came later."""
    names: dict[str, None] = {}
    for row in rows:
        own = [name for name in row if name not in ("epoch", "seconds", "batches")]
        names |= dict.fromkeys(sorted(own) if row is rows[0] else own)
    if rows and not any(name.startswith("val_") for name in names):
        names |= dict.fromkeys([f"val_{name}" for name in names])
    return list(names)


def _writer(file: IO[str], names: Sequence[str]) -> csv.DictWriter:
    return csv.DictWriter(file, ["epoch", *names], restval="NA", extrasaction="ignore")
