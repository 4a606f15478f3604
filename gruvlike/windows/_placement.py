"""Where windows lie in the music: on a grid in each track, or in lanes that continue from batch to batch.

A layout knows the lengths of the tracks and nothing else of them. It answers by arithmetic: the tracks and the first
samples of any batch of any epoch.
"""

from typing import Literal, NamedTuple

import numpy as np

from gruvlike.windows._permutation import permuted


class Cut(NamedTuple):
    """The arguments of `Windows` that decide where windows lie and in which order they come."""

    span: int
    hop: int
    batch_size: int
    offset: int | Literal["random"]
    shuffle: bool
    random_seed: int
    shard: tuple[int, int]

    @property
    def least_offset(self) -> int:
        return 0 if isinstance(self.offset, str) else self.offset

    def draw_offset(self, epoch: int, size: int, *key: int) -> int:
        """Returns the offset in an epoch: the fixed one, or a random one in [0, size)."""
        if not isinstance(self.offset, str):
            return self.offset
        return int(np.random.default_rng((self.random_seed, epoch, 0, *key)).integers(size))


class EvenGrid:
    """Windows on a grid in each track; any window can come at any time.

    Args:
        lengths: Samples of each track.
        cut: How the windows are cut.
    """

    def __init__(self, lengths: np.ndarray, cut: Cut):
        self.cut = cut
        self.slack = lengths - cut.span
        self.counts = _grid_size(self.slack, cut.least_offset, cut.hop)
        self.ends = np.cumsum(self.counts)
        self.used = int(lengths.sum())
        total = int(self.ends[-1])
        self.count = len(range(cut.shard[0], total, cut.shard[1]))
        if not self.count:
            raise ValueError(
                f"Every shard must get windows. Received: shard={cut.shard} of {total} windows. "
                "Use fewer shards or a smaller hop."
            )

    def locate(self, batch: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the tracks and the first samples of the windows of a batch."""
        cut, first = self.cut, batch * self.cut.batch_size
        windows = cut.shard[0] + cut.shard[1] * np.arange(first, min(first + cut.batch_size, self.count))
        if cut.shuffle:
            windows = permuted(windows, int(self.ends[-1]), (cut.random_seed, epoch))
        tracks = np.searchsorted(self.ends, windows, side="right")
        ordinals = windows - (self.ends - self.counts)[tracks]
        slack, offset = self.slack[tracks], cut.draw_offset(epoch, cut.hop)
        spare = self.counts[tracks] - _grid_size(slack, offset, cut.hop)
        on_grid = np.minimum(offset + (ordinals - spare) * cut.hop, slack)
        return tracks, np.where(ordinals < spare, 0, on_grid)

    def resets(self, batch: int, epoch: int) -> bool:
        """Returns True: no window continues another."""
        return True


class Lanes:
    """Windows that continue each other: a track is cut into lanes of equal length, one for each row of a batch.

    Args:
        lengths: Samples of each track. Tracks too short for a window in each lane are left out.
        cut: How the windows are cut.
    """

    def __init__(self, lengths: np.ndarray, cut: Cut):
        if cut.hop > cut.span:
            raise ValueError(
                f"Stateful windows must leave no gap: hop <= span. Received: hop={cut.hop}, span={cut.span}."
            )
        self.cut = cut
        lanes = cut.batch_size * cut.shard[1]
        room = lengths - cut.span + cut.hop - cut.least_offset
        counts = room // (lanes * cut.hop)
        if not counts.any():
            longest = int(room.max()) // cut.hop
            raise ValueError(
                f"Every lane must get a window. Received: {lanes} lanes (batch_size={cut.batch_size}), and "
                f"{longest} windows that follow each other in the longest track. Use a batch_size of at most "
                f"{longest // cut.shard[1]}, fewer steps or smaller blocks."
            )
        self.tracks = np.flatnonzero(counts)
        self.counts = counts[self.tracks]
        self.rests = (room - counts * lanes * cut.hop)[self.tracks]
        self.count = int(self.counts.sum()) * cut.batch_size
        self.used = int((self.counts * lanes * cut.hop + cut.span - cut.hop).sum())

    def locate(self, batch: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the tracks and the first samples of the windows of a batch."""
        cut, (number, before) = self.cut, self._turn(batch, epoch)
        start = cut.draw_offset(epoch, int(self.rests[number]) + 1, number)
        lanes = cut.shard[0] * cut.batch_size + np.arange(cut.batch_size)
        track = np.full(cut.batch_size, self.tracks[number])
        return track, start + (lanes * int(self.counts[number]) + before) * cut.hop

    def resets(self, batch: int, epoch: int) -> bool:
        """Returns whether a track begins with this batch."""
        return self._turn(batch, epoch)[1] == 0

    def _turn(self, batch: int, epoch: int) -> tuple[int, int]:
        """Returns the number of the track in a batch, and how many windows of each lane came before."""
        order = np.arange(len(self.tracks))
        if self.cut.shuffle:
            order = permuted(order, len(order), (self.cut.random_seed, epoch))
        ends = np.cumsum(self.counts[order])
        place = int(np.searchsorted(ends, batch, side="right"))
        number = int(order[place])
        return number, batch - (int(ends[place]) - int(self.counts[number]))


def _grid_size(slack: np.ndarray, offset: int, hop: int) -> np.ndarray:
    """Windows a track: those on the grid that start before `slack`, the last possible start, and the one there."""
    return -(-np.maximum(slack - offset, 0) // hop) + 1
