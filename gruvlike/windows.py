"""Batches of PCM windows for `fit`, cut from the mapped corpus when they are asked for.

Nothing is kept but the lengths of the tracks: the position of any window follows by arithmetic, and the shuffling is a
keyed permutation that is computed, not stored. So every overlapping window of a thousand hours costs no more memory
than those of one.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import keras
import numpy as np

from gruvlike._checks import positive_int
from gruvlike._contracts import Announces, Batch, FramesOfSound, Music, Track, WindowsLike

__all__ = ["Grid", "Windows", "choose_grid", "permuted"]

logger = logging.getLogger(__name__)

_ROUNDS = 6


class Windows(keras.utils.PyDataset):
    """Windows of the tracks of a corpus, in batches.

    A batch is `({"pcm": pcm},)`: int16 of shape (B, span), samples = pcm / 32768.

    In each track the windows lie on a grid: they start at the offset and every `hop` samples from there; the last one
    is right-aligned, so that the end of the music is always covered. A window never crosses from one track to another.
    Tracks shorter than a window are left out (and logged).

    All epochs have the same number of batches. Where a random offset leaves room for one window less in a track, an
    extra window starts at sample 0: it covers the music before the offset.

    Batch `i` is a function of (`random_seed`, `epoch`, `i`) alone: it does not matter which batches were read before,
    in which order, or in which thread. `epoch` counts up when Keras ends an epoch, and can be set. (JAX and torch: the
    batch that Keras reads to build a model that is not built yet counts as an epoch.) `first_batch` starts the epoch at
    hand at that batch: only the batches from there on count in its length, and the next epoch is whole again. Fit such
    an epoch alone: Keras asks for the length only once a `fit`. Keras shuffles whole batches besides, by a generator of
    its own, unless it is told `fit(shuffle=False)`.

    Stateful windows continue each other, so that the state of a network can be carried from batch to batch: each track
    is cut into `batch_size` lanes of equal length, row b of a batch is the next window of lane b, and all lanes of a
    track end with the same batch. The rest of a track is in no lane (`unused_seconds`, logged); with a random offset it
    is another part in each epoch. `shuffle` then shuffles the tracks. Batches are
    `({"pcm": pcm, "reset": flags},)`: the flags, bool of shape (B,), are all true where a track begins, and there
    `AudioModel` forgets the states that it carries.

    Args:
        corpus: A `Corpus`, a part of one, or other `Music`.
        span: Samples a window.
        hop: Samples from one window to the next; `None`: `span`. Smaller than `span`, windows overlap. Stateful, it
            must be the frames that a network reads of a window: `span` less the frame that it only predicts.
        batch_size: Windows a batch. The last batch of an epoch may be smaller.
        offset: "random" moves the grid by a new number of samples in [0, hop) each epoch; an integer in [0, hop)
            fixes it.
        shuffle: Whether the windows of an epoch come in random order, else in the order of the music.
        random_seed: Decides offsets and order.
        shard: (i, n): process i of n gets every n-th window. Shards share no window and leave none out. Stateful, it
            gets `batch_size` of the n * `batch_size` lanes.
        stateful: Whether windows continue those of the batch before.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        corpus, span, hop, batch_size, offset, shuffle, random_seed, shard, stateful: As given.
        sample_rate: Samples per second of the corpus.
        high_pass_hz: High-pass of the corpus, or `None`.
        epoch: Number of the epoch at hand.
        first_batch: The batch that it starts at.
        count: Windows in a whole epoch.
        unused_seconds: Music that is in no lane; 0 unless stateful.

    Raises:
        ValueError: If no window fits, if a shard or a lane would be empty, or if an argument is out of range.

    Example:
        >>> import gruvlike, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gruvlike.audio.write(f"{folder}/ramp.wav", np.arange(10, dtype="int16"), sample_rate=8000)
        ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/ramp.h5", sample_rate=8000, high_pass_hz=None)
        ...     for (batch,) in Windows(corpus, span=4, hop=3, batch_size=2, offset=1, shuffle=False):
        ...         print(batch["pcm"].tolist())
        [[1, 2, 3, 4], [4, 5, 6, 7]]
        [[6, 7, 8, 9]]
    """

    def __init__(
        self,
        corpus: Music,
        span: int,
        hop: int | None = None,
        batch_size: int = 32,
        offset: int | Literal["random"] = "random",
        shuffle: bool = True,
        random_seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        stateful: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.corpus = corpus
        self.sample_rate = corpus.sample_rate
        self.high_pass_hz = corpus.high_pass_hz
        self.span = positive_int("span", span)
        self.hop = self.span if hop is None else positive_int("hop", hop)
        self.batch_size = positive_int("batch_size", batch_size)
        self.offset = _checked_offset(offset, self.hop)
        self.shuffle = bool(shuffle)
        self.random_seed = positive_int("random_seed", random_seed, minimum=0)
        self.shard = _checked_shard(shard)
        self.stateful = bool(stateful)
        self.epoch = 0
        self.first_batch = 0
        self._begun = False
        self._tracks = _long_enough(list(corpus), self.span)
        # One track of each kind is checked, because a check by protocol takes longer than reading a window.
        kinds = {type(track): track for track in self._tracks}
        self._announces = all(isinstance(track, Announces) for track in kinds.values())
        cut = _Cut(self.span, self.hop, self.batch_size, self.offset, self.shuffle, self.random_seed, self.shard)
        self._layout = (_Lanes if self.stateful else _EvenGrid)(np.array([len(track) for track in self._tracks]), cut)
        self.count = self._layout.count
        self.unused_seconds = self._unused_seconds() if self.stateful else 0.0

    def _unused_seconds(self) -> float:
        total = sum(map(len, self.corpus))
        unused, lanes = (total - self._layout.used) / self.sample_rate, self.batch_size * self.shard[1]
        logger.info("%.1f of %.1f s are in none of the %d lanes.", unused, total / self.sample_rate, lanes)
        return unused

    def __len__(self) -> int:
        return -(-self.count // self.batch_size) - self.first_batch

    def __getitem__(self, index: int) -> tuple[Batch]:
        tracks, starts = self._layout.locate(self._batch(index), self.epoch)
        if self._announces:  # each window is announced before the first is read: the disk reads them side by side
            for number, start in zip(tracks, starts, strict=True):
                cast(Announces, self._tracks[number]).announce(int(start), int(start) + self.span)
        pcm = np.empty((len(starts), self.span), np.int16)
        for row, number, start in zip(pcm, tracks, starts, strict=True):
            row[:] = self._tracks[number].pcm[start : start + self.span]
        return ({"pcm": pcm, "reset": np.full(len(pcm), self.resets(index))} if self.stateful else {"pcm": pcm},)

    def on_epoch_begin(self) -> None:
        """Notes that an epoch begins (called by Keras)."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch (called by Keras, once also before the first one begins)."""
        if self._begun:
            self.epoch += 1
            self.first_batch = 0
        self._begun = False

    def go_to(self, epoch: int, first_batch: int = 0) -> None:
        """Moves to a batch of an epoch: index 0 is then that batch, and the next epoch is whole again.

        Args:
            epoch: Number of the epoch.
            first_batch: Number of the batch in the whole epoch.

        Raises:
            ValueError: If a number is negative.

        Example:
            >>> import gruvlike, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gruvlike.audio.write(f"{folder}/ramp.wav", np.arange(10, dtype="int16"), sample_rate=8000)
            ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/ramp.h5", sample_rate=8000, high_pass_hz=None)
            >>> windows = Windows(corpus, span=2, batch_size=2, offset=0)  # three batches an epoch
            >>> windows.go_to(epoch=7, first_batch=1)
            >>> windows.epoch, len(windows)
            (7, 2)
        """
        self.epoch = positive_int("epoch", epoch, minimum=0)
        self.first_batch = positive_int("first_batch", first_batch, minimum=0)
        self._begun = False

    def position(self, batch_index: int, row: int) -> tuple[Track, int]:
        """Returns the place that a window of the epoch at hand comes from.

        Args:
            batch_index: Number of the batch.
            row: Number of the window in the batch.

        Returns:
            The track and the first sample within it: the window is `track.pcm[start : start + span]`.

        Raises:
            IndexError: If the epoch has no such batch.

        Example:
            >>> import gruvlike, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gruvlike.audio.write(f"{folder}/ramp.wav", np.arange(10, dtype="int16"), sample_rate=8000)
            ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/ramp.h5", sample_rate=8000, high_pass_hz=None)
            ...     track, start = Windows(corpus, span=4, hop=3, shuffle=False, offset=0).position(0, row=1)
            ...     track.name, start
            ('ramp.wav', 3)
        """
        tracks, starts = self._layout.locate(self._batch(batch_index), self.epoch)
        return self._tracks[tracks[row]], int(starts[row])

    def resets(self, batch_index: int) -> bool:
        """Returns whether a batch starts anew: true unless its windows continue those of the batch before.

        Args:
            batch_index: Number of the batch in the epoch at hand.

        Raises:
            IndexError: If the epoch has no such batch.

        Example:
            >>> import gruvlike, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gruvlike.audio.write(f"{folder}/ramp.wav", np.arange(30, dtype="int16"), sample_rate=8000)
            ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/ramp.h5", sample_rate=8000, high_pass_hz=None)
            ...     windows = Windows(corpus, span=5, hop=4, batch_size=2, stateful=True)
            ...     [windows.resets(index) for index in range(len(windows))]
            [True, False, False]
        """
        return self._layout.resets(self._batch(batch_index), self.epoch)

    def _batch(self, batch_index: int) -> int:
        """Returns the number of a batch in the whole epoch."""
        if not -len(self) <= batch_index < len(self):
            raise IndexError(f"The epoch has {len(self)} batches. Received: {batch_index}.")
        return batch_index % len(self) + self.first_batch


def _long_enough(tracks: Sequence[Track], span: int) -> list[Track]:
    """Returns the tracks that hold a window; raises if there is none."""
    fitting = [track for track in tracks if len(track) >= span]
    if not fitting:
        longest = max(map(len, tracks), default=0)
        raise ValueError(
            f"No window fits: it needs {span} samples, the longest track has {longest}. "
            "Use fewer steps or smaller blocks."
        )
    if len(fitting) < len(tracks):
        logger.warning(
            "%d of %d tracks are left out: they are shorter than a window of %d samples.",
            *(len(tracks) - len(fitting), len(tracks), span),
        )
    return fitting


class _Cut(NamedTuple):
    """The arguments of `Windows` that decide where windows lie and in which order they come."""

    span: int
    hop: int
    batch_size: int
    offset: int | str
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


class _EvenGrid:
    """Windows on a grid in each track; any window can come at any time.

    Args:
        lengths: Samples of each track.
        cut: How the windows are cut.
    """

    def __init__(self, lengths: np.ndarray, cut: _Cut):
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


class _Lanes:
    """Windows that continue each other: a track is cut into lanes of equal length, one for each row of a batch.

    Args:
        lengths: Samples of each track. Tracks too short for a window in each lane are left out.
        cut: How the windows are cut.
    """

    def __init__(self, lengths: np.ndarray, cut: _Cut):
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


class Grid(NamedTuple):
    """The sizes of windows that `choose_grid` chose.

    They are used as in `corpus.windows(encoder, grid.steps, hop=grid.hop)`.

    Attributes:
        steps: Frames in a window that are predicted.
        hop: Samples from one window to the next.
    """

    steps: int
    hop: int


def choose_grid(parts: Sequence[Music], encoder: FramesOfSound, steps: int = 40, windows: int = 256) -> Grid:
    """Chooses windows that fit the music: as many steps as asked for where the music is long, fewer where it is short.

    Short music gets shorter windows, so that each part has a track for one, and windows that overlap, so that there are
    about as many as asked for.

    Args:
        parts: The parts of a split, the one to train on first.
        encoder: The `Encoder` that cuts the music into frames.
        steps: Frames in a window, at most.
        windows: How many windows the first part should have, about.

    Returns:
        The `Grid`: at least 4 steps, and a hop of 1 to `steps` frames.

    Raises:
        ValueError: If a part is too short for windows of 4 steps.

    Example:
        >>> import gruvlike as gl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), sample_rate=8000)
        ...     corpus = gl.Corpus.build(folder, f"{folder}/tune.h5", sample_rate=8000)
        ...     train, validation = corpus.split(validation=0.25)
        ...     choose_grid((train, validation), gl.BlockDFT(block_size=400))
        Grid(steps=19, hop=400)
    """
    least = min(max(len(track) for track in part) for part in parts)
    frames = (least - encoder.span(1)) // encoder.hop + 1
    if frames < 5:
        needs, rate = encoder.span(5), parts[0].sample_rate
        raise ValueError(
            f"Training needs a track of at least {needs} samples ({needs / rate:.1f} s) on either side of the split. "
            f"Received: {least} samples ({least / rate:.1f} s). Give more music, or use smaller blocks."
        )
    steps = min(steps, frames - 1)
    total = sum(len(track) for track in parts[0]) // encoder.hop
    return Grid(steps, min(max(total // windows, 1), steps) * encoder.hop)


def permuted(index: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Maps each index in [0, size) to its place in a random order, without storing that order.

    A Feistel network permutes the numbers of 2k bits. A number that falls outside [0, size) is sent through the network
    again until it falls inside, so that the whole stays a permutation.

    Args:
        index: Integers in [0, size), of shape (n,).
        size: How many numbers the order holds.
        key: Integers; each key gives another order.

    Returns:
        An int64 array of shape (n,).

    Example:
        >>> sorted(permuted(np.arange(7), 7, (0, 0)).tolist())
        [0, 1, 2, 3, 4, 5, 6]

    References:
        J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002 (cycle walking).
    """
    bits = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(bits)) - 1)
    keys = np.random.SeedSequence((*key, 1)).generate_state(_ROUNDS, np.uint64)
    numbers = index.astype(np.uint64)
    outside = np.ones(len(numbers), bool)
    while outside.any():
        left, right = numbers[outside] >> bits, numbers[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (_scrambled(right + round_key) & mask)
        numbers[outside] = (left << bits) | right
        outside = numbers >= size
    return numbers.astype(np.int64)


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Returns numbers of which every bit depends on every bit of the input: the finalizer of SplitMix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _checked_offset(offset: int | Literal["random"], hop: int) -> int | Literal["random"]:
    if offset == "random":
        return offset
    if isinstance(offset, str) or positive_int("offset", offset, minimum=0) >= hop:
        raise ValueError(f'`offset` must be "random" or an integer in [0, hop={hop}). Received: offset={offset!r}.')
    return int(offset)


def _checked_shard(shard: tuple[int, int]) -> tuple[int, int]:
    index, count = shard
    if positive_int("shard[0]", index, minimum=0) >= positive_int("shard[1]", count):
        raise ValueError(f"`shard` must be (i, n) with 0 <= i < n. Received: shard={shard!r}.")
    return int(index), int(count)


if TYPE_CHECKING:  # a type checker compares the class with its contract

    def _are_windows(windows: Windows) -> WindowsLike:
        return windows
