"""How far a run is: the plain data in a checkpoint, beside variables and the states of callbacks."""

from dataclasses import dataclass, field
from typing import Any


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
        """Undoes `to_json`: the place that is read is the place that was saved."""
        return cls(**found, saved=(found["epoch"], found["batch"]))
