"""Hear a model while it trains, and measure what it does when it hears only itself."""

import csv
import importlib.util
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gruvlike import _checks, _files, audio, plots

logger = logging.getLogger(__name__)


class _Harmless(keras.callbacks.Callback):
    """What is worth no night of training: an error in it is logged with its reason."""

    _what = ""  # that there is none of after an error
    _reason: str | None = None  # of the last error

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forgets what belonged to another `fit`."""
        self._reason = None

    def _try(self, epoch: int, work: Callable[[], Any]) -> Any:
        try:
            return work()
        # Whatever it is (a network that predicts NaN, a full disk, a backend's own error): training goes on.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            # The same again (music that is too short, a full disk) is worth one warning, not one every few epochs.
            level = logging.DEBUG if reason == self._reason else logging.WARNING
            logger.log(level, "No %s after epoch %d: %s", self._what, epoch, reason)
            self._reason = reason
            return None


class AudioPreview(_Harmless):
    """Continues the same held-out seeds every few epochs: sound, pictures, and what the measures say.

    Seeds come from the validation music that `fit` gets, else from `corpus`, else from the music that is trained on.
    Where no track is twice as long as a song, songs are half as long as the longest track, and seeds a quarter. An
    error here never stops training: it is logged with its reason.

    Args:
        directory: Where "epoch-0005-1.wav" (seed, then song), "epoch-0005-1.png" and "measures.csv" go.
        every: Epochs from one preview to the next.
        seconds: Length of a song, at most.
        seeds: How many seeds.
        seed_seconds: Length of a seed, at most.
        random_seed: Chooses the seeds.
        corpus: A `Corpus` to take seeds from.
        board: Folder for the logs of TensorBoard; `None` for none.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> AudioPreview("previews", every=10, seconds=3).every
        10
    """

    _what = "preview"

    def __init__(
        self,
        directory: Any,
        every: int = 5,
        seconds: float = 5.0,
        seeds: int = 2,
        seed_seconds: float = 5.0,
        random_seed: int = 0,
        corpus: Any = None,
        board: Any = None,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.every = _checks.positive_int("every", every)
        self.seconds = _checks.number("seconds", seconds, 0, open_low=True)
        self.seeds = _checks.positive_int("seeds", seeds)
        self.seed_seconds = _checks.number("seed_seconds", seed_seconds, 0, open_low=True)
        self.random_seed = _checks.positive_int("random_seed", random_seed, minimum=0)
        self.corpus, self.board = corpus, board
        self._pieces: list[np.ndarray] = []
        self._song_size = 0
        self._generator: Any = None
        self._writer: Any = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forgets what belonged to another `fit`."""
        super().on_train_begin(logs)
        self._pieces, self._generator = [], None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Makes a preview after every so many epochs."""
        if (epoch + 1) % self.every == 0:
            self._try(epoch + 1, lambda: self._preview(epoch + 1))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes what is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _preview(self, epoch: int) -> None:
        from gruvlike._step._stateless import carries
        from gruvlike.generation import Generator

        model = self.model
        if self._generator is None:
            self._song_size, self._pieces = self._choose(model)
            self._generator = Generator(model)
        rate, size = model.sample_rate, len(self._pieces[0]) - self._song_size
        seeds = [piece[:size] for piece in self._pieces]
        history = "carry" if carries(model.stack) else "full"
        songs = self._generator.extend(seeds, seconds=self._song_size / rate, history=history)
        rows = []
        self.directory.mkdir(parents=True, exist_ok=True)
        for number, (seed, song, piece) in enumerate(zip(seeds, songs, self._pieces, strict=True), 1):
            path = self.directory / f"epoch-{epoch:04d}-{number}.wav"
            audio.write(path, np.clip(np.concatenate([seed, song]), -1, 1), rate)
            picture = plots.seed_and_song(seed, song, rate, title=f"after epoch {epoch}")
            picture.savefig(path.with_suffix(".png"))
            measures = _measures(song, piece[size:], model.encoder.hop)
            rows.append({"epoch": epoch, "seed": number, **measures})
            self._show(f"seed {number}", epoch, song, picture, measures)
        self._note(epoch, rows)

    def _choose(self, model: Any) -> tuple[int, list[np.ndarray]]:
        """Samples of a song; and seeds with the music that really follows them, as long as the music allows."""
        corpus = self.corpus
        for windows in (getattr(model, "validation_windows", None), getattr(model, "training_windows", None)):
            corpus = corpus or getattr(windows, "corpus", None)
        if corpus is None:
            raise ValueError(
                "A preview needs music to continue. Received: no `corpus`, and no windows of one in `fit`."
            )
        longest = max(track.seconds for track in corpus)
        seconds = min(self.seconds, longest / 2)
        seed_seconds = min(self.seed_seconds, (longest - seconds) / 2)  # short music: other places, too
        if seed_seconds * corpus.sample_rate < model.encoder.span(1):
            raise ValueError(
                f"A preview needs a track of four frames of {model.encoder.span(1) / corpus.sample_rate:.2f} s. "
                f"Received: the longest track has {longest:.2f} s."
            )
        total = seconds + seed_seconds
        pieces = [corpus.excerpt(total, random_seed=self.random_seed + k) for k in range(self.seeds)]
        return round(seconds * corpus.sample_rate), pieces

    def _note(self, epoch: int, rows: list[dict[str, float]]) -> None:
        """Adds rows to the measures; those of this epoch and later ones are of a time that was gone back on."""
        path = self.directory / "measures.csv"
        kept = []
        if path.exists():
            with open(path, encoding="utf-8", newline="") as file:
                kept = [row for row in csv.DictReader(file) if _epoch_of(row) < epoch]
        with _files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*kept, *rows])

    def _show(self, name: str, epoch: int, song: np.ndarray, picture: Any, measures: dict[str, float]) -> None:
        """Writes for TensorBoard, if it is installed."""
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


class FreeRunningLoss(_Harmless):
    """Every few epochs, the loss of a model that continues its own output, on validation music.

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

    _what = "free-running loss"

    def __init__(self, every: int = 5, horizons: Sequence[int] = (1, 2, 5, 10, 40), windows: int = 64):
        super().__init__()
        self.every = _checks.positive_int("every", every)
        self.horizons = tuple(_checks.positive_int("horizons", horizon) for horizon in horizons)
        self.windows = _checks.positive_int("windows", windows)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures after every so many epochs."""
        corpus = getattr(getattr(self.model, "validation_windows", None), "corpus", None)
        if corpus is None or logs is None:
            return
        encoder = self.model.encoder
        longest = (max(map(len, corpus)) - encoder.lap) // encoder.hop - 1
        horizons = [horizon for horizon in self.horizons if 2 * horizon <= longest]
        found = {}
        if horizons and (epoch + 1) % self.every == 0:
            found = self._try(epoch + 1, lambda: self._measure(corpus, horizons)) or {}
        for horizon in horizons:
            loss, energy = found.get(horizon, (np.nan, np.nan))
            logs[f"val_free_running_{horizon}"], logs[f"val_free_energy_{horizon}"] = loss, energy

    def _measure(self, corpus: Any, horizons: list[int]) -> dict[int, Any]:
        from gruvlike.models import free_running_loss

        encoder, steps = self.model.encoder, 2 * max(horizons)
        hop = max(steps * encoder.hop, sum(map(len, corpus)) // self.windows)
        places = corpus.windows(encoder, steps=steps, hop=hop, batch_size=16, shuffle=False, offset=0)
        return free_running_loss(self.model, places, horizons)


def has_tensorboard() -> bool:
    """Whether logs for TensorBoard can be written."""
    return all(importlib.util.find_spec(name) is not None for name in ("tensorboard", "tensorflow"))


def _epoch_of(row: dict[str, str]) -> float:
    """The epoch of a row of measures; a row that was cut short belongs nowhere."""
    return float(row["epoch"]) if (row.get("epoch") or "").isdigit() and None not in row.values() else math.inf


def _measures(song: np.ndarray, truth: np.ndarray, hop: int) -> dict[str, float]:
    """What the song is like, and how it compares with the music that really follows."""
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
