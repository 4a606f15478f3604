"""The folder of a run: one process at a time reads and writes checkpoints, settings and histories in it."""

import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gruvlike import _checks, _files
from gruvlike.callbacks import _checkpoint, _records, _state
from gruvlike.callbacks._checkpoint import Checkpoint
from gruvlike.callbacks._progress import Progress
from gruvlike.callbacks._summary import write_summary

if TYPE_CHECKING:
    from gruvlike.models import AudioModel

logger = logging.getLogger(__name__)

_BYTES = 4  # of a number


class Store:
    """The folder of a run.

    Args:
        directory: The folder; `locked` makes it.

    Attributes:
        directory: As given.
        newest, previous: The files of the newest checkpoint and of the one before.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.newest, self.previous = directory / "newest.keras", directory / "previous.keras"
        # A damaged newest checkpoint is not moved to `previous`, where the last whole one stands.
        self._newest_is_whole = True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, and holds its lock during the block.

        Raises:
            NotADirectoryError: If there is a file of that name.
            OSError: If the folder cannot be written.
            BlockingIOError: If another process holds the lock.
        """
        _check_folder(self.directory)
        rule = (
            f"A run is trained by one process at a time. Received: {str(self.directory)!r}, which is being trained "
            "now. Wait for that, or give another folder."
        )
        with _files.locked(self.directory / "lock", rule):
            yield

    def read(self) -> Checkpoint | None:
        """Reads the newest whole checkpoint; `None` if there is none at all.

        Raises:
            ValueError: If there are checkpoints and none is whole.
        """
        checkpoint = _checkpoint.read(self.newest, self.previous)
        self._newest_is_whole = checkpoint is None or checkpoint.path == self.newest
        return checkpoint

    def save(self, model: "AudioModel", progress: Progress, states: Sequence[_state.NamedState]) -> None:
        """Writes the newest checkpoint; the one that it replaces becomes the previous one."""
        previous = self.previous if self._newest_is_whole else None
        _checkpoint.write(self.newest, previous, model, progress, states)
        progress.saved, self._newest_is_whole = (progress.epoch, progress.batch), True

    def where(self, progress: Progress) -> str:
        """Says in a sentence where the run would be resumed."""
        epoch, batch = progress.saved
        place = f"after epoch {epoch}" if not batch else f"in epoch {epoch + 1}, after batch {batch}"
        return f"The same script goes on with {str(self.directory)!r} {place}."

    def check_room(self, model: "AudioModel") -> None:
        """Raises before the first step if the files of the run, or the next one of them, will find no room."""
        files = self.newest, self.previous, self.directory / "best.keras"
        wanted = 1 + sum(not file.exists() for file in files)  # each is written beside the one that it replaces
        numbers = sum(math.prod(variable.shape) for variable in [*model.variables, *model.optimizer.variables])
        _checks.room(self.directory, wanted * _BYTES * numbers, "the checkpoints of the run")

    def write_config(self, config: Mapping[str, object]) -> None:
        """Writes `config.json`."""
        with _files.replacing(self.directory / "config.json") as temporary:
            temporary.write_text(json.dumps(config, indent=1, default=str) + "\n", encoding="utf-8")

    def write_histories(self, progress: Progress) -> None:
        """Cuts the histories down to the epochs of a checkpoint: later ones are trained again."""
        _records.write_histories(self.directory, progress.rows)

    def save_averages(self, model: "AudioModel") -> Path:
        """Writes `averaged.keras`, the model as it is at the end, and returns its path."""
        path = self.directory / "averaged.keras"
        model.save(path)
        return path

    def add_row(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Adds the last of these epochs, which are all of the run, to the histories."""
        _records.add(self.directory, rows)

    def draw(self, rows: Sequence[Mapping[str, float]], baselines: Mapping[str, float]) -> None:
        """Draws `learning_curve.png`."""
        _records.draw(self.directory, rows, baselines)

    def summarize(self) -> str:
        """Writes `summary.txt` and returns its text; a file that cannot be written is logged and stops nothing."""
        try:
            return write_summary(self.directory)
        except OSError as error:
            logger.warning("The summary of the run could not be written: %s", error)
            return ""


def _check_folder(directory: Path) -> None:
    """Makes the folder, and raises before the first step if it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"A run is kept in a folder. Received: {str(directory)!r}, where there is a file. Give another name."
        ) from error
    except OSError as error:
        raise type(error)(
            f"The run folder must be writable. Received: {str(directory)!r}: {os.strerror(error.errno or 0)}. "
            "Give another folder, or make room."
        ) from error
