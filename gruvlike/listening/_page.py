"""The text of a page, made of a template: all that comes from outside is escaped."""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gruvlike import __version__, plots
from gruvlike.listening._measuring import Table
from gruvlike.listening._runs import Run, flat
from gruvlike.listening._sounds import Group, figure_uri

if TYPE_CHECKING:
    from jinja2 import Environment

_CURVE_INCHES, _CURVE_DPI = (5.0, 3.2), 200
# HTML has no place for controls (tab and line feed apart), halves of characters, and marks that turn the text around.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def render(runs: Sequence[Run], groups: Sequence[Group], tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Returns the page."""
    environment = _environment()
    script = environment.get_template("page.js").render()
    lowest = min(clip.start for group in groups for clip in group.clips)
    highest = max(clip.stop for group in groups for clip in group.clips)
    return environment.get_template("page.html").render(
        runs=[_about(run, table) for run, table in zip(runs, tables, strict=True)],
        groups=groups,
        unseen=all(run.held_out is not run.music for run in runs),
        notes=notes,
        start=lowest,
        seconds=highest - lowest,
        style=environment.get_template("page.css").render(),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
    )


@cache
def _environment() -> "Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("gruvlike.listening", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_writable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _writable(value: Any) -> Any:
    """Returns text that a browser shows as it is; other values are returned as they are."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNWRITABLE.sub("\ufffd", value)
    return value


def _about(run: Run, table: Table) -> dict[str, Any]:
    """Returns all that the template says about a run."""
    settings = [("parameters", f"{run.model.stack.count_params():,}"), *flat(run.settings)]
    return {
        "name": run.name,
        "command": run.command,
        "settings": settings,
        "versions": list(run.versions.items()),
        "columns": table.columns,
        "rows": [(name, ideal, [_number(value) for value in values]) for name, ideal, values in table.rows],
        "note": table.note,
        "curve": _curve(run),
        "curve_words": _curve_words(run),
    }


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _curve(run: Run) -> str:
    """Returns the learning curves of a run as a data URI; "" if there is no loss."""
    from matplotlib.figure import Figure

    # The picture is small, so that its letters can be read on a telephone.
    figure = Figure(figsize=_CURVE_INCHES, layout="constrained", dpi=_CURVE_DPI)
    try:
        plots.learning_curves(run.history, run.baselines, figure.subplots())
    except ValueError:
        return ""
    return figure_uri(figure, "png")


def _curve_words(run: Run) -> str:
    """Returns the learning curves in words."""
    found = []
    prefix = "relative_" if "relative_loss" in run.history else ""
    for word, name in (("training", f"{prefix}loss"), ("validation", f"val_{prefix}loss")):
        losses = np.asarray(run.history.get(name, ()), float)
        if np.isfinite(losses).any():
            best = int(np.nanargmin(losses))
            found.append(f"{word} from {losses[0]:.2f} to {losses[-1]:.2f}, best {losses[best]:.2f} (epoch {best + 1})")
    if not found:
        return ""
    beat = ", ".join(f"{name} {loss:.2f}" for name, loss in run.baselines.items())
    return f"Loss by epoch: {'; '.join(found)}{f'. To beat: {beat}' if beat else ''}."
