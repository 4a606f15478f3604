"""How far a run is: the plain data in a checkpoint, beside variables and the states of callbacks."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from gruvlike import _checks


@dataclass
class Progress:
    """How far a run is. Callbacks change it while the run is trained.

    Attributes:
        identity: The music, windows, model and optimizer of the run (`_identity.identity`).
        versions: The versions of Python, Keras, the backend and so on.
        baselines: The relative losses of simple predictors on the validation music.
        epoch: Number of the epoch at hand, counted from 0.
        batch: Batches of this epoch that have been trained on.
        seconds: Time spent on these batches.
        rows: The history: a row of numbers for each whole epoch.
        saved: Epoch and batch of the newest checkpoint.
    """

    identity: dict[str, Any]
    versions: dict[str, str]
    baselines: dict[str, float]
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    saved: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        """Returns the part that a checkpoint holds, ready for JSON."""
        return {name: value for name, value in vars(self).items() if name != "saved"}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Progress":
        """Undoes `to_json`: the place that is read is the place that was saved.

        Raises:
            ValueError: If a part is missing, or is not of its type.
        """
        names = {one.name for one in fields(cls)} - {"saved"}
        if not isinstance(found, dict) or set(found) != names:
            raise ValueError(f"the progress must say {', '.join(sorted(names))}")
        places = found["epoch"], found["batch"]
        checks = {
            "identity": _is_identity(found["identity"]),
            "versions": _maps(found["versions"], str),
            "baselines": _maps(found["baselines"], float),
            "epoch and batch": all(_is_count(one) for one in places),
            "seconds": 0 <= _checks.as_float(found["seconds"]) < math.inf,
            "rows": isinstance(found["rows"], list) and all(map(_is_row, found["rows"])),
        }
        if wrong := [name for name, is_right in checks.items() if not is_right]:
            raise ValueError(f"the {wrong[0]} in its progress cannot be those of a run")
        return cls(**found, saved=places)


def _is_identity(found: object) -> bool:
    """Whether these can be the settings of a run; those of an old one have no head."""
    parts = ("model", "network", "encoder", "normalizer", "windows")
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), dict) for name in parts)
        and isinstance(found.get("optimizer"), dict)
        and isinstance(found["optimizer"].get("config"), dict)
        and isinstance(found.get("head", {}), dict)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_row(row: object) -> bool:
    return _maps(row, float) and isinstance(row, dict) and _is_count(row.get("epoch")) and "seconds" in row


def _maps(found: object, kind: type) -> bool:
    """Whether this is a dictionary from names to texts, or to numbers."""
    return isinstance(found, dict) and all(
        isinstance(name, str) and (_is_number(one) if kind is float else isinstance(one, kind))
        for name, one in found.items()
    )


def _is_number(value: object) -> bool:
    """Whether this can be a loss, which may be NaN; an array of numpy holds no larger integer."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)
