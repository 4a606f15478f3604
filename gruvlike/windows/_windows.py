"""The batches: a `keras.utils.PyDataset` that reads each window when it is asked for."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import keras
import numpy as np

from gruvlike._checks import positive_int
from gruvlike._contracts import Announces, Batch, ConditionSupply, Music, Track, WindowsLike
from gruvlike.windows._placement import Cut, EvenGrid, Lanes

logger = logging.getLogger(__name__)


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
        supply: Adds the numbers of a model's conditions to each window. `AudioModel` sets it; `None`: nothing is added.
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
        self.supply: ConditionSupply | None = None
        self.failure: Exception | None = None  # TensorFlow makes an error of its own of it
        self._begun = False
        self._tracks = _long_enough(list(corpus), self.span)
        # One track of each kind is checked, because a check by protocol takes longer than reading a window.
        kinds = {type(track): track for track in self._tracks}
        self._announces = all(isinstance(track, Announces) for track in kinds.values())
        cut = Cut(self.span, self.hop, self.batch_size, self.offset, self.shuffle, self.random_seed, self.shard)
        self._layout = (Lanes if self.stateful else EvenGrid)(np.array([len(track) for track in self._tracks]), cut)
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
        try:
            return self._read(index)
        except (ValueError, OSError) as error:
            self.failure = error
            raise

    def _read(self, index: int) -> tuple[Batch]:
        tracks, starts = self._layout.locate(self._batch(index), self.epoch)
        if self._announces:  # each window is announced before the first is read: the disk reads them side by side
            for number, start in zip(tracks, starts, strict=True):
                cast(Announces, self._tracks[number]).announce(int(start), int(start) + self.span)
        pcm = np.empty((len(starts), self.span), np.int16)
        for row, number, start in zip(pcm, tracks, starts, strict=True):
            row[:] = self._tracks[number].pcm[start : start + self.span]
        batch: Batch = {"pcm": pcm}
        if self.stateful:
            batch["reset"] = np.full(len(pcm), self.resets(index))
        if self.supply is not None:
            # Windows that are the same in each epoch get the same numbers. Offsets have keys with a 0 for the 1.
            epoch = self.epoch if self.shuffle or self.offset == "random" else 0
            key = (self.random_seed, epoch, 1, self._batch(index))
            rows = [
                self.supply(self._tracks[number], int(start), self.span, (*key, row))
                for row, (number, start) in enumerate(zip(tracks, starts, strict=True))
            ]
            batch["conditions"] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return (batch,)

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
