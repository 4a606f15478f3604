"""Previews of a training: songs that the model makes at some epochs, and its free-running loss."""

import csv
import importlib.util
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gruvlike import _checks, _files, audio, plots
from gruvlike._contracts import HoldsWindows
from gruvlike.callbacks._songs import BestEffort, continued, corpus_of
from gruvlike.corpus import Corpus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gruvlike.generation import Generator
    from gruvlike.models import AudioModel, FreeRun


class AudioPreview(BestEffort):
    """Continues the same held-out seeds every few epochs: as sound, as pictures, and in measures of the songs.

    Seeds come from `corpus`, else from the validation music that `fit` gets, else from the music that is trained on.
    Where no track is twice as long as a song, songs are half as long as the longest track, and seeds a quarter. For a
    network with conditions, seeds are as long as it reads back at the slowest tempo; silence stands before them where
    the music is shorter. An error here never stops training: it is logged with its reason.

    Args:
        directory: The folder for "epoch-0005-1.wav" (seed, then song), "epoch-0005-1.png" and "measures.csv".
        every: Epochs from one preview to the next.
        seconds: Length of a song, at most.
        seeds: How many seeds.
        seed_seconds: Length of a seed, at most, unless the network needs more.
        random_seed: Chooses the seeds.
        corpus: A `Corpus` to take seeds from.
        board: Folder for the logs of TensorBoard; `None` for none.
        temperature: Of a head that draws; `None`: that of the head.
        leash: As for `Generator.extend`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> AudioPreview("previews", every=10, seconds=3).every
        10
    """

    _product = "preview"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: int = 5,
        seconds: float = 5.0,
        seeds: int = 2,
        seed_seconds: float = 5.0,
        random_seed: int = 0,
        corpus: Corpus | None = None,
        board: str | os.PathLike[str] | None = None,
        temperature: float | None = None,
        leash: float | None = None,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.every = _checks.positive_int("every", every)
        self.seconds = _checks.number("seconds", seconds, 0, open_low=True)
        self.seeds = _checks.positive_int("seeds", seeds)
        self.seed_seconds = _checks.number("seed_seconds", seed_seconds, 0, open_low=True)
        self.random_seed = _checks.positive_int("random_seed", random_seed, minimum=0)
        self.corpus, self.board = corpus, board
        self.temperature = None if temperature is None else _checks.number("temperature", temperature, 0)
        self.leash = None if leash is None else _checks.number("leash", leash, 0, 1)
        self._pieces: list[np.ndarray] = []
        self._song_size = 0
        self._generator: Generator | None = None
        self._writer: Any = None  # the writer is TensorBoard's

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets the seeds and the errors of another `fit`."""
        super().on_train_begin(logs)
        self._pieces, self._generator = [], None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Makes a preview after every so many epochs."""
        if (epoch + 1) % self.every == 0:
            self._try(epoch + 1, lambda: self._preview(epoch + 1))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the logs of TensorBoard."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _preview(self, epoch: int) -> None:
        from gruvlike.generation import Generator

        model: AudioModel = self.model
        if self._generator is None:
            generator = Generator(model)
            self._song_size, self._pieces = self._choose(model, generator.seed_seconds)
            self._generator = generator
        rate, size = model.sample_rate, len(self._pieces[0]) - self._song_size
        seeds = [piece[:size] for piece in self._pieces]
        songs = continued(self._generator, seeds, self._song_size / rate, self.temperature, self.leash)
        rows = []
        self.directory.mkdir(parents=True, exist_ok=True)
        for number, (seed, song, piece) in enumerate(zip(seeds, songs, self._pieces, strict=True), 1):
            path = self.directory / f"epoch-{epoch:04d}-{number}.wav"
            audio.write(path, np.clip(np.concatenate([seed, song]), -1, 1), rate)
            picture = plots.seed_and_song(seed, song, rate, title=f"after epoch {epoch}")
            picture.savefig(path.with_suffix(".png"))
            measures = _measures(song, piece[size:], model.encoder.hop)
            rows.append({"epoch": epoch, "seed": number, **measures})
            self._log_for_board(f"seed {number}", epoch, song, picture, measures)
        self._write_measures(epoch, rows)

    def _choose(self, model: "AudioModel", needed: float) -> tuple[int, list[np.ndarray]]:
        """Returns the samples of a song, and seeds with the music after them, as long as the music allows.

        Args:
            model: The model.
            needed: Seconds that a seed should have, more than `seed_seconds` if need be.
        """
        corpus = self.corpus or corpus_of(model.validation_windows) or corpus_of(model.training_windows)
        if corpus is None:
            raise ValueError(
                "A preview needs music to continue. Received: no `corpus`, and no windows of one in `fit`."
            )
        longest = max(track.seconds for track in corpus)
        seconds = min(self.seconds, longest / 2)
        # A shorter seed leaves several places in short music, too.
        seed_seconds = min(self.seed_seconds, (longest - seconds) / 2)
        if seed_seconds * corpus.sample_rate < model.encoder.span(1):
            raise ValueError(
                f"A preview needs a track of four frames of {model.encoder.span(1) / corpus.sample_rate:.2f} s. "
                f"Received: the longest track has {longest:.2f} s."
            )
        seed_seconds = max(seed_seconds, min(needed, longest - seconds))
        total = seconds + seed_seconds
        pieces = [corpus.excerpt(total, random_seed=self.random_seed + k) for k in range(self.seeds)]
        return round(seconds * corpus.sample_rate), pieces

    def _write_measures(self, epoch: int, rows: list[dict[str, float]]) -> None:
        """Adds rows to the measures; rows of this epoch and later ones are from before the run was resumed."""
        path = self.directory / "measures.csv"
        kept = [row for row in _rows_of(path) if _epoch_of(row) < epoch]
        with _files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*kept, *rows])

    def _log_for_board(
        self, name: str, epoch: int, song: np.ndarray, picture: "Figure", measures: dict[str, float]
    ) -> None:
        """Writes a song into the logs of TensorBoard, if it is installed."""
        if self.board is None or not has_tensorboard():
            return
        import tensorflow as tf

        self._writer = self._writer or tf.summary.create_file_writer(str(Path(self.board) / "previews"))
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(picture)
        canvas.draw()
        with self._writer.as_default():
            # A tag belongs to one kind of data: of two kinds under the same tag TensorBoard shows the first.
            tf.summary.audio(f"{name}/sound", song[None, :, None], self.model.sample_rate, step=epoch)
            tf.summary.image(f"{name}/picture", np.asarray(canvas.buffer_rgba())[None], step=epoch)
            for measure, value in measures.items():
                tf.summary.scalar(f"{name}/{measure}", value, step=epoch)
        self._writer.flush()


class FreeRunningLoss(BestEffort):
    """Measures every few epochs the loss of a model that continues its own output, on validation music.

    Adds `val_free_running_10` (the loss at the tenth frame after the music; 1.0 = predicting the mean) and
    `val_free_energy_10` (the energy of that frame over that of the truth) to the history, and so for each horizon; NaN
    in the epochs between, and where measuring failed: that is logged and stops nothing. Horizons that the music is too
    short for are left out. See `models.free_running_loss`.

    Args:
        every: Epochs from one measurement to the next.
        horizons: Frames after the music.
        windows: How many places in the music to start from, at most, about.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> FreeRunningLoss(every=10, horizons=(1, 4)).horizons
        (1, 4)
    """

    _product = "free-running loss"

    def __init__(self, every: int = 5, horizons: Sequence[int] = (1, 2, 5, 10, 40), windows: int = 64):
        super().__init__()
        self.every = _checks.positive_int("every", every)
        self.horizons = _checks.horizons(horizons)
        self.windows = _checks.positive_int("windows", windows)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures after every so many epochs."""
        corpus = corpus_of(self.model.validation_windows) if isinstance(self.model, HoldsWindows) else None
        if corpus is None or logs is None:
            return
        encoder = self.model.encoder
        longest = (max(map(len, corpus)) - encoder.lap) // encoder.hop - 1
        horizons = [horizon for horizon in self.horizons if 2 * horizon <= longest]
        found: dict[int, FreeRun] = {}
        if horizons and (epoch + 1) % self.every == 0:
            found = self._try(epoch + 1, lambda: self._measure(corpus, horizons)) or {}
        for horizon in horizons:
            loss, energy = found.get(horizon, (np.nan, np.nan))
            logs[f"val_free_running_{horizon}"], logs[f"val_free_energy_{horizon}"] = loss, energy

    def _measure(self, corpus: Corpus, horizons: list[int]) -> dict[int, "FreeRun"]:
        from gruvlike.models import free_running_loss

        encoder, steps = self.model.encoder, 2 * max(horizons)
        hop = max(steps * encoder.hop, sum(map(len, corpus)) // self.windows)
        places = corpus.windows(encoder, steps=steps, hop=hop, batch_size=16, shuffle=False, offset=0)
        return free_running_loss(self.model, places, horizons)


def has_tensorboard() -> bool:
    """Returns whether logs for TensorBoard can be written."""
    return all(importlib.util.find_spec(name) is not None for name in ("tensorboard", "tensorflow"))


def _rows_of(path: Path) -> list[dict[str, str]]:
    """Returns the rows of measures, up to one that cannot be read; none if this is no plain file."""
    rows: list[dict[str, str]] = []
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):
            rows.extend(csv.DictReader(file))
    return rows


def _epoch_of(row: dict[str, str]) -> float:
    """Returns the epoch of a row of measures; infinity for a row that was cut short by a kill."""
    return float(row["epoch"]) if (row.get("epoch") or "").isdecimal() and None not in row.values() else math.inf


def _measures(song: np.ndarray, truth: np.ndarray, hop: int) -> dict[str, float]:
    """Returns measures of a song, and of its difference from the music that follows the seed."""
    from gruvlike import metrics
    from gruvlike.metrics._levels import rms

    return {
        "level": rms(song) / max(rms(truth), 1e-9),
        "clipped": float((np.abs(song) > 1).mean()),
        "tick_ratio": metrics.tick_ratio(song, hop),
        "energy_drift_db": metrics.energy_drift_db(song, truth),
        "log_spectral_distance": metrics.log_spectral_distance(song, truth),
        "flatness_excess_db": metrics.flatness_excess_db(song, truth),
    }
