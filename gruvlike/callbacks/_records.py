"""The records of a run for people: histories and the learning curve."""

import csv
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gruvlike import _files, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

BASELINES = {"mean": "predicting the mean", "repeat": "repeating the last frame", "linear": "linear prediction"}

Row = Mapping[str, float]


def write_histories(directory: Path, rows: Sequence[Row]) -> None:
    """Makes the histories those of a checkpoint: epochs after it are trained again."""
    texts = {"history.jsonl": "".join(map(_json_line, rows)), "history.csv": _csv(rows)}
    for name, text in texts.items():
        path = directory / name
        old = path.read_bytes() if path.exists() else None
        if old is not None and rows and not old.startswith(text.encode()):
            logger.warning("%r is not what this run wrote; it is written anew from the checkpoint.", str(path))
        if old != text.encode() and (old is not None or text):
            with _files.replacing(path) as temporary:
                temporary.write_bytes(text.encode())


def add(directory: Path, row: Row) -> None:
    """Adds an epoch to `history.jsonl`; `keras.callbacks.CSVLogger` writes `history.csv`."""
    with open(directory / "history.jsonl", "a", encoding="utf-8") as file:
        file.write(_json_line(row))


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
    """Returns the text that `keras.callbacks.CSVLogger` writes for these epochs."""
    if not rows:
        return ""
    names = sorted(name for name in rows[0] if name not in ("epoch", "seconds"))
    names += [] if any(name.startswith("val_") for name in names) else [f"val_{name}" for name in names]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["epoch", *names], restval="NA", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
