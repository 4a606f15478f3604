"""Songs during a training: the music that they start from, and the one way in which callbacks make them."""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import keras
import numpy as np

from gruvlike._contracts import WindowsLike
from gruvlike.corpus import Corpus

if TYPE_CHECKING:
    from gruvlike.generation import Generator

logger = logging.getLogger(__name__)

Product = TypeVar("Product")

SONG_DISTANCE = "val_song_distance"


class BestEffort(keras.callbacks.Callback):
    """A callback whose errors are logged instead of stopping training."""

    _product = ""  # the warning names it: "No preview after epoch 5"
    _last_error: str | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets the errors of another `fit`."""
        self._last_error = None

    def _try(self, epoch: int, work: Callable[[], Product]) -> Product | None:
        """Returns the product of `work`, or `None` after an error."""
        try:
            return work()
        # Training continues after any error: a network that predicts NaN, a full disk, an error of the backend.
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            # Music that is too short, or a full disk, fails again every few epochs: one warning is enough.
            level = logging.DEBUG if text == self._last_error else logging.WARNING
            logger.log(level, "No %s after epoch %d: %s", self._product, epoch, text)
            self._last_error = text
            return None


def corpus_of(windows: object) -> Corpus | None:
    """Returns the corpus behind the windows that `fit` was given, or `None` if they come from none."""
    return windows.corpus if isinstance(windows, WindowsLike) and isinstance(windows.corpus, Corpus) else None


def continued(
    generator: "Generator",
    seeds: Sequence[np.ndarray],
    seconds: float,
    temperature: float | None,
    leash: float | None,
    random_seed: int | None = None,
) -> np.ndarray:
    """Returns a song (clips, S) for each seed.

    Args:
        generator: Of the model that is being trained.
        seeds: Samples (S,). One that is shorter than the network needs has silence put before it.
        seconds: Length of the songs.
        temperature: Of a head that draws; `None`: that of the head.
        leash: As for `Generator.extend`.
        random_seed: As for `Generator.extend`.
    """
    from gruvlike._step._stateless import carries
    from gruvlike.conditions import conditions_of

    least = round(generator.seed_seconds * generator.sample_rate)
    seeds = [np.pad(seed, (max(0, least - len(seed)), 0)) for seed in seeds]
    has_conditions = bool(conditions_of(generator.stack))
    history = "carry" if has_conditions or carries(generator.stack) else "full"
    with warnings.catch_warnings():
        # Early in a training each song freezes, and music without a beat has none in each epoch.
        warnings.simplefilter("ignore")
        return generator.extend(
            seeds,
            seconds=seconds,
            history=history,
            temperature=temperature,
            leash=leash,
            random_seed=random_seed,
        )
