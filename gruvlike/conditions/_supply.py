"""The numbers of all conditions for windows of training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gruvlike._contracts import BeatLike, FramesOfSound, HasBeat, Track
from gruvlike.conditions._condition import Condition, OwnPast, Schedule
from gruvlike.conditions._meter import Meter
from gruvlike.conditions._style import Style


class Supply(NamedTuple):
    """A function that adds the numbers of conditions to batches of windows: `Windows.supply`.

    A window of training gets, for each `Schedule`, the numbers of the frames to come, and for each `OwnPast` the PCM of
    earlier windows of the same track. Before the start of a track there is silence.

    Attributes:
        conditions: Of the model.
        encoder: The encoder of the model, whose frames windows are cut into.
    """

    conditions: Sequence[Condition]
    encoder: FramesOfSound

    def __call__(self, track: Track, start: int, span: int, key: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Returns the numbers of each condition for the window `track.pcm[start : start + span]`.

        Args:
            track: The track of the window.
            start: First sample of the window.
            span: Samples in it.
            key: Decides all random numbers: the same key gives the same.

        Returns:
            By the names of the conditions: float32 (T, numbers), or PCM (n, span).

        Raises:
            ValueError: If the track has no beat, or no label of a style, where one is needed.
        """
        encoder, rate = self.encoder, track.sample_rate
        middle = (start + encoder.span(1) / 2) / rate  # the first frame that is read has this middle, in seconds
        meter = Meter.of(self._beat(track), rate / encoder.hop, middle)
        to_come = np.arange(1, (span - encoder.lap) // encoder.hop)
        found = {}
        for number, condition in enumerate(self.conditions):
            if isinstance(condition, Style):
                found[condition.name] = condition.of_track(track).at(to_come, meter)
            elif isinstance(condition, Schedule):
                found[condition.name] = condition.at(to_come, meter)
            elif isinstance(condition, OwnPast):
                random = np.random.default_rng((*key, number))
                lags = condition.lags(meter, start // encoder.hop + 1, random)
                earlier = [start + (1 - int(lag)) * encoder.hop for lag in lags]
                found[condition.name] = np.stack([_pcm(track, first, span - encoder.hop) for first in earlier])
        return found

    def _beat(self, track: Track) -> BeatLike | None:
        beat = track.beat if isinstance(track, HasBeat) else None
        if beat is None and any(condition.needs_beat for condition in self.conditions):
            names = ", ".join(c.name for c in self.conditions if c.needs_beat)
            raise ValueError(
                f"A model with {names} needs music whose beat was found. Received: {track.name!r} without one. "
                "Add it by `Corpus.add_beats()`: nothing is decoded again."
            )
        return beat


def _pcm(track: Track, first: int, size: int) -> np.ndarray:
    """Returns samples [first, first + size) of a track, with silence before its start."""
    if first >= 0:
        return track.pcm[first : first + size]
    known = track.pcm[: max(0, first + size)]
    return np.concatenate([np.zeros(size - len(known), known.dtype), known])
