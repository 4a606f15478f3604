"""A song that is drawn several times, moment by moment, and goes on from the candidate that is most like its seed."""

from collections.abc import Sequence

import numpy as np

from gruvlike.conditions import Meter
from gruvlike.generation._bars import bar_pattern, likeness
from gruvlike.generation._guard import Usual
from gruvlike.generation._memory import CarriedPast

MOMENT_SECONDS = 1.5
_MOMENTS = 3  # candidates are judged by so many moments of the song, their own the last of them
_TINY = 1e-6


class ChosenPast:
    """Songs whose next moment is drawn several times: the candidate goes on whose last seconds are most like the seed.

    They are compared by the pattern of the bar (`bar_pattern`), and by mean and deviation of the frames. Both are taken
    in units of their deviation over the candidates, and added. So a song that drifts from its seed is led back by
    choice alone: each moment is one that the network has drawn.

    Args:
        rows: The songs of all candidates: those of the first clip, then those of the next.
        usual: Of the seeds.
        meters: The beat of each seed; empty where the network reads none.
        choices: How many candidates there are of each clip.
        moment: Frames of a moment.

    Attributes:
        chunk: One call can take at most so many frames.

    References:
        Gordon, Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", 1993 (particles
        that are drawn on, weighed and chosen).
    """

    def __init__(self, rows: CarriedPast, usual: Usual, meters: Sequence[Meter], choices: int, moment: int):
        self.chunk = rows.chunk
        self._rows, self._usual, self._meters = rows, usual, meters
        self._choices, self._moment, self._done = choices, moment, 0
        nothing = np.zeros((len(usual.mean), 0, usual.mean.shape[-1]), np.float32)
        self._ready, self._sung = nothing, nothing

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the songs, (B, steps, W)."""
        while self._ready.shape[1] < steps:
            self._ready = np.concatenate([self._ready, self._choose()], axis=1)
        taken, self._ready = self._ready[:, :steps], self._ready[:, steps:]
        return taken

    def _choose(self) -> np.ndarray:
        """Returns the next moment of each clip, (B, moment, W)."""
        starts = range(0, self._moment, self.chunk)
        drawn = [self._rows.take(min(self.chunk, self._moment - start)) for start in starts]
        several = np.concatenate(drawn, axis=1).reshape(len(self._sung), self._choices, self._moment, -1)
        best = [self._best(clip, moments) for clip, moments in enumerate(several)]
        self._rows.keep([clip * self._choices + one for clip, one in enumerate(best) for _ in range(len(several[0]))])
        chosen = several[np.arange(len(best)), best]
        self._done += self._moment
        self._sung = np.concatenate([self._sung, chosen], axis=1)[:, -(_MOMENTS - 1) * self._moment :]
        return chosen

    def _best(self, clip: int, moments: np.ndarray) -> int:
        """Returns the number of the best of some moments (n, moment, W) of a clip."""
        measures = np.array([self._measures(clip, np.concatenate([self._sung[clip], one])) for one in moments])
        return int(np.argmax(np.sum((measures - measures.mean(axis=0)) / (measures.std(axis=0) + _TINY), axis=1)))

    def _measures(self, clip: int, frames: np.ndarray) -> tuple[float, float]:
        """Returns how like the seed the last frames of a song are, by pattern, and by mean and deviation."""
        usual = self._usual
        least = _TINY + 1e-3 * usual.deviation[clip]
        shift = (frames.mean(axis=0) - usual.mean[clip]) / (usual.deviation[clip] + least)
        spread = np.log((frames.std(axis=0) + least) / (usual.deviation[clip] + least))
        alike = 0.0
        if self._meters:
            first = self._done + self._moment - len(frames)
            alike = likeness(bar_pattern(frames, self._meters[clip], first), usual.pattern[clip])
        return alike, -float(np.mean(shift * shift) + np.mean(spread) ** 2)
