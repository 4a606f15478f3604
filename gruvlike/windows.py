"""Batches of PCM windows for `fit`, cut from the mapped corpus when they are asked for.

Nothing is kept but the lengths of the tracks: the position of any window follows by arithmetic, and the shuffling is a
keyed permutation that is computed, not stored. So every overlapping window of a thousand hours costs no more memory
than those of one.
"""

import logging
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from gruvlike._checks import positive_int
from gruvlike._contracts import Music, Track

logger = logging.getLogger(__name__)

_ROUNDS = 6


class Windows(keras.utils.PyDataset):
    """Windows of the tracks of a corpus, in batches.

    In each track the windows lie on a grid: they start at the offset and every `hop` samples from there; the last one
    is right-aligned, so that the end of the music is always covered. A window never crosses from one track to another.
    Tracks shorter than a window are left out (and logged).

    All epochs have the same number of batches. Where a random offset leaves room for one window less in a track, the
    one that is left over starts at sample 0: it covers the music before the offset.

    Batch `i` is a function of (`random_seed`, `epoch`, `i`) alone: it does not matter which batches were read before,
    in what order, or in which thread. `epoch` counts up when Keras ends an epoch, and can be set. (JAX and torch: what
    Keras reads to build a model that is not built yet counts as an epoch.) `first_batch` starts the epoch at hand at
    that batch: its length is what is left, and the next epoch is whole again. Fit such an epoch alone: Keras asks for
    the length only once a `fit`. Keras shuffles whole batches besides, by a generator of its own, unless it is told
    `fit(shuffle=False)`.

    Stateful windows continue each other, so that the state of a network can be carried from batch to batch: each track
    is cut into `batch_size` lanes of equal length, row b of a batch is the next window of lane b, and all lanes of a
    track end with the same batch. What is left over is not heard (`unused_seconds`, logged); with a random offset it is
    another part in each epoch. `shuffle` then shuffles the tracks. Batches are
    `({"pcm": pcm, "reset": flags},)`: the flags, bool of shape (B,), are all true where a track begins, and there
    `AudioModel` forgets what it carries.

    Args:
        corpus: a `Corpus`, or a part of one.
        span: samples a window.
        hop: samples from one window to the next; `None`: `span`. Smaller than `span`, windows overlap. Stateful, it
            must be the frames that a network reads of a window: `span` less the frame that it only predicts.
        batch_size: windows a batch. The last batch of an epoch may be smaller.
        offset: "random" moves the grid by a new number of samples in [0, hop) each epoch; an integer in [0, hop)
            fixes it.
        shuffle: whether the windows of an epoch come in random order, else in the order of the music.
        random_seed: decides offsets and order.
        shard: (i, n): process i of n gets every n-th window. Shards share no window and leave none out. Stateful, it
            gets `batch_size` of the n * `batch_size` lanes.
        stateful: whether windows continue those of the batch before.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        sample_rate: of the corpus.
        high_pass_hz: of the corpus.
        epoch: number of the epoch at hand.
        first_batch: the batch that it starts at.
        count: windows in a whole epoch.
        unused_seconds: music that is in no lane; 0 unless stateful.

    Returns:
        Batches `(pcm,)`: a tuple of one int16 array of shape (B, span), samples = pcm / 32768.

    Raises:
        ValueError: if no window fits, if a shard or a lane would be empty, or if an argument is out of range.

    Example:
        >>> import gruvlike, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gruvlike.audio.write(f"{folder}/ramp.wav", np.arange(10, dtype="int16"), sample_rate=8000)
        ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/ramp.h5", sample_rate=8000, high_pass_hz=None)
        ...     for (pcm,) in Windows(corpus, span=4, hop=3, batch_size=2, offset=1, shuffle=False):
        ...         print(pcm.tolist())
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
        self.epoch = 0
        self.first_batch = 0
        self._begun = False
        self.stateful = bool(stateful)
        self.unused_seconds = 0.0
        self._tracks = self._long_enough(list(corpus))
        self._slack = np.array([len(track) - self.span for track in self._tracks])
        if self.stateful:
            self._lay_lanes()
        else:
            self._lay_grid()

    def _lay_grid(self) -> None:
        self._counts = _grid_size(self._slack, 0 if self.offset == "random" else self.offset, self.hop)
        self._ends = np.cumsum(self._counts)
        self.count = len(range(self.shard[0], int(self._ends[-1]), self.shard[1]))
        if not self.count:
            raise ValueError(
                f"Every shard must get windows. Received: shard={self.shard} of {self._ends[-1]} windows. "
                "Use fewer shards or a smaller hop."
            )

    def _lay_lanes(self) -> None:
        """Counts the windows of a lane in each track; tracks too short for a window in each lane are left out."""
        if self.hop > self.span:
            raise ValueError(
                f"Stateful windows must leave no gap: hop <= span. Received: hop={self.hop}, span={self.span}."
            )
        lanes = self.batch_size * self.shard[1]
        room = self._slack + self.hop - (0 if self.offset == "random" else self.offset)
        counts = room // (lanes * self.hop)
        if not counts.any():
            longest = int(room.max()) // self.hop
            raise ValueError(
                f"Every lane must get a window. Received: {lanes} lanes (batch_size={self.batch_size}), and "
                f"{longest} windows that follow each other in the longest track. Use a batch_size of at most "
                f"{longest // self.shard[1]}, fewer steps or smaller blocks."
            )
        self._tracks = [track for track, count in zip(self._tracks, counts, strict=True) if count]
        self._rests = (room - counts * lanes * self.hop)[counts > 0]
        self._counts = counts[counts > 0]
        self.count = int(self._counts.sum()) * self.batch_size
        total = sum(map(len, self.corpus))
        heard = (self._counts * lanes * self.hop + self.span - self.hop).sum()
        self.unused_seconds = float(total - heard) / self.sample_rate
        logger.info("%.1f of %.1f s are in none of the %d lanes.", self.unused_seconds, total / self.sample_rate, lanes)

    def _long_enough(self, tracks: list[Track]) -> list[Track]:
        fitting = [track for track in tracks if len(track) >= self.span]
        if not fitting:
            longest = max(map(len, tracks), default=0)
            raise ValueError(
                f"No window fits: it needs {self.span} samples, the longest track has {longest}. "
                "Use fewer steps or smaller blocks."
            )
        if len(fitting) < len(tracks):
            short = len(tracks) - len(fitting)
            logger.warning(
                "%d of %d tracks are left out: they are shorter than a window of %d samples.",
                *(short, len(tracks), self.span),
            )
        return fitting

    def __len__(self) -> int:
        return -(-self.count // self.batch_size) - self.first_batch

    def __getitem__(self, index: int) -> tuple[Any]:
        tracks, starts = self._positions(index)
        for track, start in zip(tracks, starts, strict=True):  # all of them first: the disk reads them side by side
            self._tracks[track]._announce(int(start), int(start) + self.span)
        pcm = np.empty((len(starts), self.span), np.int16)
        for row, track, start in zip(pcm, tracks, starts, strict=True):
            row[:] = self._tracks[track].pcm[start : start + self.span]
        if self.stateful:
            return ({"pcm": pcm, "reset": np.full(len(pcm), self.resets(index))},)
        return (pcm,)

    def on_epoch_begin(self) -> None:
        """Notes that an epoch begins (called by Keras)."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch (called by Keras, once also before the first one begins)."""
        if self._begun:
            self.epoch += 1
            self.first_batch = 0
        self._begun = False

    def position(self, batch_index: int, row: int) -> tuple[Track, int]:
        """Says where a window of the epoch at hand comes from.

        Args:
            batch_index: number of the batch.
            row: number of the window in the batch.

        Returns:
            The track and the first sample within it: the window is `track.pcm[start : start + span]`.
        """
        tracks, starts = self._positions(batch_index)
        return self._tracks[tracks[row]], int(starts[row])

    def resets(self, batch_index: int) -> bool:
        """Says whether a batch starts anew: true unless its windows continue those of the batch before.

        Args:
            batch_index: number of the batch in the epoch at hand.
        """
        batch = self._batch(batch_index)
        return not self.stateful or self._in_lanes(batch)[2] == 0

    def _batch(self, batch_index: int) -> int:
        """The number of a batch in the whole epoch."""
        if not -len(self) <= batch_index < len(self):
            raise IndexError(f"The epoch has {len(self)} batches. Received: {batch_index}.")
        return batch_index % len(self) + self.first_batch

    def _positions(self, batch_index: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the tracks and first samples of the windows of a batch."""
        batch = self._batch(batch_index)
        return self._in_lanes(batch)[:2] if self.stateful else self._on_grid(batch)

    def _on_grid(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, total = self.epoch, int(self._ends[-1])
        first = batch * self.batch_size
        windows = self.shard[0] + self.shard[1] * np.arange(first, min(first + self.batch_size, self.count))
        if self.shuffle:
            windows = permuted(windows, total, (self.random_seed, epoch))
        tracks = np.searchsorted(self._ends, windows, side="right")
        ordinals = windows - (self._ends - self._counts)[tracks]
        slack, offset = self._slack[tracks], self._offset(epoch)
        spare = self._counts[tracks] - _grid_size(slack, offset, self.hop)
        on_grid = np.minimum(offset + (ordinals - spare) * self.hop, slack)
        return tracks, np.where(ordinals < spare, 0, on_grid)

    def _in_lanes(self, batch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Numbers of the tracks, first samples, and how many windows of each lane came before."""
        epoch, tracks = self.epoch, np.arange(len(self._tracks))
        if self.shuffle:
            tracks = permuted(tracks, len(tracks), (self.random_seed, epoch))
        ends = np.cumsum(self._counts[tracks])
        place = int(np.searchsorted(ends, batch, side="right"))
        track = int(tracks[place])
        count = int(self._counts[track])
        before = batch - (int(ends[place]) - count)
        start = self.offset
        if self.offset == "random":
            start = int(np.random.default_rng((self.random_seed, epoch, 0, track)).integers(self._rests[track] + 1))
        lanes = self.shard[0] * self.batch_size + np.arange(self.batch_size)
        return np.full(self.batch_size, track), start + (lanes * count + before) * self.hop, before

    def _offset(self, epoch: int) -> int:
        if self.offset != "random":
            return self.offset
        return int(np.random.default_rng((self.random_seed, epoch, 0)).integers(self.hop))


def _grid_size(slack: np.ndarray, offset: int, hop: int) -> np.ndarray:
    """Windows a track: those on the grid that start before `slack`, the last possible start, and the one there."""
    return -(-np.maximum(slack - offset, 0) // hop) + 1


class Grid(NamedTuple):
    """How windows are laid over the music: frames in a window, and samples from one window to the next."""

    steps: int
    hop: int


def choose_grid(parts: tuple[Any, ...], encoder: Any, steps: int = 40, windows: int = 256) -> Grid:
    """Chooses window sizes that fit the music: `steps` frames if all parts have a track that long, and about `windows`.

    Short music gets shorter windows, and windows that overlap.

    Raises:
        ValueError: If a part is too short for windows of 4 steps.
    """
    least = min(max(len(track) for track in part) for part in parts)
    frames = (least - (encoder.span(1) - encoder.hop)) // encoder.hop
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

    A Feistel network permutes the numbers of 2k bits; what falls outside [0, size) is sent through it again until it
    falls inside, which keeps it a permutation.

    Args:
        index: integers in [0, size), of shape (n,).
        size: how many there are.
        key: integers; each key gives another order.

    Returns:
        int64 array of shape (n,).

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
    """The finalizer of SplitMix64: every bit of the input moves every bit of the output."""
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
