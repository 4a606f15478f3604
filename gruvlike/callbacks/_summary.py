"""The summary of a run in a few lines: its best epoch, the baselines, and the free-running loss."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gruvlike import _files
from gruvlike.callbacks._records import BASELINES


def write_summary(directory: Path) -> str:
    """Writes `summary.txt` from the history and the settings of a run, and returns its text; "" before an epoch."""
    text = _summary(read_rows(directory / "history.jsonl"), _baselines(directory / "config.json"))
    if text:
        with _files.replacing(directory / "summary.txt") as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    return text


def free_running(row: Mapping[str, float | None]) -> tuple[float, int] | None:
    """Returns the free-running loss that an epoch has closest to ten frames after the music, and that horizon."""
    from gruvlike import plots  # imported here because Matplotlib takes its time

    horizon = plots._horizon(row)
    loss = row.get(f"val_free_running_{horizon}")
    return None if loss is None or not math.isfinite(loss) else (loss, horizon)


def _summary(rows: list[dict[str, Any]], baselines: Mapping[str, float]) -> str:
    judged = [row for row in rows if row.get("val_relative_loss") is not None]
    name, words = ("val_relative_loss", "validation loss") if judged else ("relative_loss", "training loss")
    found = [row for row in rows if row.get(name) is not None]
    # An epoch that was cut short counts only where there is no other, as for `best.keras`.
    found = [row for row in found if "batches" not in row] or found
    if not found:
        return ""
    best = min(found, key=lambda row: row[name])
    minutes = sum(row["seconds"] for row in rows) / 60
    lines = [
        ("epochs", f"{rows[-1]['epoch'] + 1}, {minutes:.1f} min"),
        ("best", f"{words} {best[name]:.3f} after epoch {best['epoch'] + 1} (1 = predicting the mean)"),
        ("last", f"{words} {found[-1][name]:.3f} after epoch {found[-1]['epoch'] + 1}"),
    ]
    if sung := [row for row in rows if row.get("val_song_distance") is not None]:
        first = min(sung, key=lambda row: row["val_song_distance"])
        lines.append(("best songs", f"distance {first['val_song_distance']:.3f} after epoch {first['epoch'] + 1}"))
    if baselines:
        lines.append(("to beat", ", ".join(f"{BASELINES.get(one, one)} {loss:.3f}" for one, loss in baselines.items())))
        above = [BASELINES.get(one, one) for one, loss in baselines.items() if best[name] >= loss]
        lines.append(("beaten", f"not {', not '.join(above)}" if above else "all of them"))
    for row in reversed(rows):
        if measured := free_running(row):
            loss, horizon = measured
            energy = row.get(f"val_free_energy_{horizon}") or 0
            measured_at = f"{horizon} frames after the music, after epoch {row['epoch'] + 1}"
            lines.append(("free-running", f"loss {loss:.3f} and {energy:.2f} of the energy, {measured_at}"))
            break
    return "\n".join(f"{head:<16}{line}" for head, line in lines)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the epochs of a history. A kill can cut the last line short: it is left out."""
    rows = []
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("epoch"), int):
            rows.append(row)
    return rows


def _baselines(path: Path) -> dict[str, float]:
    return json.loads(path.read_text("utf-8")).get("baselines", {}) if path.is_file() else {}
