"""The numbers of all conditions for the frames of a song, which reads its own past."""

from collections.abc import Sequence

import numpy as np

from gruvlike.conditions._condition import Condition, OwnPast, Schedule
from gruvlike.conditions._meter import Meter
from gruvlike.conditions._style import StylePath


class Frames:
    """The frames of one clip: the last ones of its seed, and the last ones of its song, in constant memory.

    The last frame of the seed has the number -1, the song begins with 0.

    Args:
        seed: The last frames of the seed, (R, W): as many as the greatest lag.

    Attributes:
        done: Frames of the song so far.

    Example:
        >>> frames = Frames(np.array([[1.0], [2.0]]))
        >>> frames.append(np.array([[3.0], [4.0], [5.0]]))
        >>> frames.at(np.array([-1, 1, 2])).ravel().tolist(), frames.done
        ([2.0, 4.0, 5.0], 3)
    """

    def __init__(self, seed: np.ndarray):
        self._seed, self._song = seed, seed[:0]
        self.done = 0

    def reseed(self, seed: np.ndarray) -> None:
        """Replaces the last frames of the seed, (R, W), by as many others.

        Example:
            >>> frames = Frames(np.zeros((1, 4)))
            >>> frames.reseed(np.ones((1, 4)))
            >>> frames.at(np.array([-1])).tolist()
            [[1.0, 1.0, 1.0, 1.0]]
        """
        self._seed = seed

    def append(self, frames: np.ndarray) -> None:
        """Adds frames (T, W) of the song; older ones than the greatest lag are forgotten.

        Example:
            >>> Frames(np.zeros((2, 4))).append(np.zeros((1, 4)))
        """
        self._song = np.concatenate([self._song, frames])[-len(self._seed) :] if len(self._seed) else self._song
        self.done += len(frames)

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the frames (..., W) with the given numbers.

        Example:
            >>> Frames(np.array([[1.0], [2.0]])).at(np.array([-2])).tolist()
            [[1.0]]
        """
        kept = np.concatenate([self._seed, self._song])
        first = self.done - len(self._song)
        places = np.where(numbers < 0, numbers + len(self._seed), numbers - first + len(self._seed))
        return kept[places]


def known(conditions: Sequence[Condition | StylePath], meter: Meter, done: int, steps: int) -> int:
    """Returns how many of the next `steps` frames read nothing but frames that there are: at least one.

    Example:
        >>> from gruvlike.conditions import Lags
        >>> known([Lags(beats=(1, 4))], Meter(period=25.0, first=0.0), done=0, steps=256)
        25
    """
    to_come = np.arange(done, done + steps)
    for condition in conditions:
        if isinstance(condition, OwnPast):
            is_known = (condition.sources(to_come, meter) < done).all(axis=1)
            steps = min(steps, len(to_come) if is_known.all() else int(np.argmin(is_known)))
    return steps


def reach(conditions: Sequence[Condition], meter: Meter) -> int:
    """Returns the greatest lag in frames: so many a seed must have before its song.

    Example:
        >>> from gruvlike.conditions import Clock, Lags
        >>> reach([Clock(), Lags(beats=(1, 4))], Meter(period=25.0, first=0.0))
        100
    """
    return max((one.reach(meter) for one in conditions if isinstance(one, OwnPast)), default=0)


def numbers_at(
    conditions: Sequence[Condition | StylePath], meter: Meter, frames: Frames, to_come: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the numbers (T, n) of each condition for frames to come, (T,), by the names of their inputs.

    Example:
        >>> from gruvlike.conditions import Clock
        >>> numbers_at([Clock()], Meter(period=25.0, first=0.0), Frames(np.zeros((0, 4))), np.array([50]))
        {'clock_input': array([[2.]], dtype=float32)}
    """
    found = {}
    for condition in conditions:
        if isinstance(condition, OwnPast):
            read = frames.at(condition.sources(to_come, meter))
            found[condition.input_name] = read.reshape(len(to_come), -1)
        elif isinstance(condition, Schedule | StylePath):
            found[condition.input_name] = condition.at(to_come, meter)
    return found
