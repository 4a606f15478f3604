"""A song that moves from one seed to the next as it runs."""

from collections.abc import Iterable, Sequence

import numpy as np

from gruvlike import _checks
from gruvlike._step._loops import Loop
from gruvlike.conditions import Condition
from gruvlike.conditions._style import StylePath
from gruvlike.generation._memory import CarriedPast, Memory, Sampling, mixed, turns_of

# After each piece, of so many frames at most, the song is drawn to one beside it by this share of the distance.
_PIECE = 8
_SHARE = 0.25
_BEAT = 32  # frames, of a network that reads no beat


class Path:
    """The weights of several memories along a song.

    Args:
        points: Weights (N, K) of K memories at N places that lie evenly along the song; `None`: from one memory to the
            next, at even distances.
        count: K.
        steps: Frames of the song.

    Raises:
        ValueError: If the weights of a place are negative, all 0, or not K.

    Example:
        >>> path = Path(None, count=2, steps=100)
        >>> path.at(0), path.at(25), path.at(100)
        ([1.0, 0.0], [0.75, 0.25], [0.0, 1.0])
    """

    def __init__(self, points: Sequence[Sequence[float]] | None, count: int, steps: int):
        places = np.eye(count) if points is None else list(points) if isinstance(points, Iterable) else [points]
        if not len(places):
            raise ValueError("`weights` must hold those of at least one place. Received: none. Leave it out.")
        if any(np.ndim(one) != 1 for one in places):
            raise ValueError(
                f"`weights` must be rows of {count} numbers, a row for each place. Received: weights={points!r}. For "
                "one row that holds for the whole song write [[0.5, 0.5]]."
            )
        self._points = np.array([_checks.shares("weights", list(one), count) for one in places])
        self._steps = steps

    def at(self, frame: int) -> list[float]:
        """Returns the weights for the frames from number `frame` on, which sum to 1."""
        place = min(frame / self._steps, 1.0) * (len(self._points) - 1)
        before = min(int(place), len(self._points) - 1)
        after, share = min(before + 1, len(self._points) - 1), place - before
        if not share:
            return self._points[before].tolist()
        return ((1 - share) * self._points[before] + share * self._points[after]).tolist()


class MorphedPast:
    """A song beside those of several seeds, which it is drawn to in turns of a beat, to each as its weight says.

    With all weight on one seed the song is that of the seed, to the last bit.

    Args:
        loop: The compiled loop, for one clip.
        memories: Of each seed.
        path: The weights along the song.
        sampling: How frames are drawn.
        conditions: Inputs of the network besides the last frame.

    Attributes:
        chunk: One call can take at most so many frames.
        memory: Where the song begins.
    """

    def __init__(
        self,
        loop: Loop,
        memories: Sequence[Memory],
        path: Path,
        sampling: Sampling,
        conditions: Sequence[Condition | StylePath] = (),
    ):
        self.chunk = loop.chunk
        self._memories, self._path, self._done = memories, path, 0
        self._weights = path.at(0)
        self.memory = self._now = mixed(memories, self._weights)
        self._song = CarriedPast(loop, self.memory, sampling, conditions)
        self._beside = [CarriedPast(loop, memory, sampling, conditions) for memory in memories]

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (1, steps, W), `steps` at most `chunk`."""
        found = []
        for start in range(0, steps, _PIECE):
            count = min(_PIECE, steps - start)
            weights = self._path.at(self._done)
            if weights != self._weights:
                self._weights = weights
                self._now = mixed(self._memories, weights)
                self._song.steer(self._now)
            found.append(self._song.take(count))
            for one in self._beside:
                one.take(count)
            self._done += count
            self._song.draw_to(self._leader().carried, _SHARE)
        return np.concatenate(found, axis=1)

    def _leader(self) -> CarriedPast:
        """Returns the song beside that leads in this beat: each leads as often as its weight says."""
        period = self._now.meters[0].period if self._now.meters else _BEAT
        (turn,) = turns_of(self._weights, np.array([(self._done - 1) // period]))
        return self._beside[turn]
