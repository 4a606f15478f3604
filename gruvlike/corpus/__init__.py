"""The PCM of many tracks in one HDF5 file, mapped into memory.

A corpus holds 16-bit mono PCM at one sample rate: 2 bytes a sample, where the spectra of 2015 took 32. `Corpus.build`
makes it from music files, `Corpus(file)` opens it, and a part of a split behaves as a corpus too. Nothing is loaded:
tracks are views of the mapped file. This module needs no Keras (but for `Corpus.windows`).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gruvlike._checks import choice, number, positive_int
from gruvlike.corpus import _build, _file, _split
from gruvlike.corpus._file import Track

if TYPE_CHECKING:
    from gruvlike.windows import Windows

__all__ = ["Corpus", "Track"]

_LEAST_TRACKS = 2  # with fewer in a part, one piece would stand for all music: "auto" then cuts in time


class Corpus:
    """Tracks of mono 16-bit PCM at one sample rate, in one file.

    Args:
        file: a file that `Corpus.build` made.

    Attributes:
        file: the file that holds the PCM.
        sample_rate: samples per second.
        high_pass_hz: what the music was filtered with, or `None`.
        seconds: length of all tracks together.
        skipped: (path, reason) of each file that the build left out; empty for a corpus that was opened.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, is no corpus, or was made by a newer version.

    Example:
        >>> import gruvlike, numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tone = np.sin(np.arange(16000) / 5) / 2
        ...     gruvlike.audio.write(f"{folder}/tone.wav", tone, sample_rate=8000)
        ...     corpus = Corpus.build(folder, f"{folder}/tones.h5", sample_rate=8000)
        ...     train, validation = corpus.split(validation=0.25, gap_seconds=0.5)
        ...     len(corpus), corpus.seconds, train.seconds, validation[0].samples().shape
        (1, 2.0, 1.0, (4000,))
    """

    def __init__(self, file: str | os.PathLike):
        self.file = Path(file)
        self.sample_rate, self.high_pass_hz, self._tracks = _file.read(file)
        self.skipped: list[tuple[str, str]] = []

    @classmethod
    def build(
        cls,
        paths: str | os.PathLike | Iterable[str | os.PathLike],
        file: str | os.PathLike,
        sample_rate: int,
        high_pass_hz: float | None = 20.0,
        executor: Executor | None = None,
        strict: bool = False,
    ) -> "Corpus":
        """Makes a corpus file from music.

        Files are prepared in parallel into parts beside `file` (in "<file>.parts": as much space again, until the end).
        An interrupted build goes on where it was when it is started again. A corpus that stands under the name is
        replaced when all is done, and not before; tracks that it has of the same content and settings are taken over.

        Args:
            paths: a folder (searched with all below), an audio file, or several of either.
            file: the corpus to write, for instance "music.h5".
            sample_rate: samples per second; music at another rate is resampled.
            high_pass_hz: cutoff of the high-pass that removes DC and infrasound (Butterworth, second order, causal);
                `None` keeps them.
            executor: any `concurrent.futures.Executor` to prepare files in. `None` takes a thread for each core.
            strict: whether to raise, instead of leaving files out, when some are unreadable or silent.

        Returns:
            The corpus, opened. Its `skipped` says what was left out and why.

        Raises:
            FileNotFoundError: if music or the folder of `file` does not exist.
            ValueError: if no file is usable (with `strict`: not all), or if `file` exists and is no corpus.
            OSError: if the disk is full; an earlier corpus is intact then.
            BlockingIOError: if another process builds the same file.
        """
        rate = positive_int("sample_rate", sample_rate)
        if high_pass_hz is not None:
            high_pass_hz = number("high_pass_hz", high_pass_hz, low=0, high=rate * 0.499, open_low=True)
        skipped = _build.build(paths, Path(file), rate, high_pass_hz, executor, strict)
        corpus = cls(file)
        corpus.skipped = skipped
        return corpus

    def __len__(self) -> int:
        return len(self._tracks)

    def __getitem__(self, index: int) -> Track:
        return self._tracks[index]

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks)

    def __repr__(self) -> str:
        return f"Corpus({str(self.file)!r}: {len(self)} tracks, {self.seconds:.1f} s at {self.sample_rate} Hz)"

    @property
    def seconds(self) -> float:
        return sum(map(len, self._tracks)) / self.sample_rate

    def split(
        self,
        validation: float,
        test: float = 0,
        by: Literal["auto", "track", "time"] = "auto",
        gap_seconds: float = 1.0,
    ) -> tuple["Corpus", ...]:
        """Splits the corpus into parts that behave as a corpus, the same parts every time.

        Args:
            validation: share of the music to hold out, in (0, 1).
            test: share to hold out beside it, in [0, 1).
            by: "track" holds out whole tracks (equal files stay together), "time" the end of each track, "auto" whole
                tracks if every part gets at least two of them, else the ends.
            gap_seconds: with "time", unused music before each held-out end, so that neighbors do not leak. It
                shrinks (to half of the part that it is taken from) rather than empty a part.

        Returns:
            (train, validation), or (train, validation, test) if `test` is above 0.

        Raises:
            ValueError: if shares are out of range, or a part would be empty.
        """
        number("validation", validation, low=0, high=1, open_low=True)
        number("test", test, low=0, high=1)
        number("gap_seconds", gap_seconds, low=0)
        choice("by", by, ("auto", "track", "time"))
        if validation + test >= 1:
            raise ValueError(
                f"`validation` + `test` must leave music to train on. Received: validation={validation}, test={test}."
            )
        shares = [validation, test] if test else [validation]
        parts = _split.by_track(self._tracks, shares) if by != "time" else []
        if by == "time" or (by == "auto" and min(map(len, parts)) < _LEAST_TRACKS):
            parts = _split.by_time(self._tracks, shares, round(gap_seconds * self.sample_rate))
        if not all(parts):
            raise ValueError(
                f"Every part of a split must get music. Received: {self!r}, validation={validation}, test={test}, "
                f'by={by!r}. Hold out a larger share, or use by="time".'
            )
        return tuple(map(self._part, parts))

    def _part(self, tracks: Sequence[Track]) -> "Corpus":
        part = Corpus.__new__(Corpus)
        part.__dict__.update(self.__dict__, _tracks=tuple(tracks), skipped=[])
        return part

    def excerpt(self, seconds: float, random_seed: int) -> np.ndarray:
        """Takes a random excerpt: every position at which it fits into a track is equally likely.

        Args:
            seconds: length of the excerpt.
            random_seed: an integer; the same one gives the same excerpt.

        Returns:
            float32 samples of shape (round(seconds * sample_rate),).

        Raises:
            ValueError: if no track is long enough.
        """
        size = max(1, round(number("seconds", seconds, low=0, open_low=True) * self.sample_rate))
        random = np.random.default_rng(positive_int("random_seed", random_seed, minimum=0))
        ends = np.cumsum([max(0, len(track) - size + 1) for track in self._tracks])
        if not ends[-1]:
            longest = max(track.seconds for track in self._tracks)
            raise ValueError(
                f"No excerpt of {seconds} s fits: the longest track has {longest:.2f} s. Ask for fewer seconds."
            )
        position = int(random.integers(ends[-1]))
        index = int(np.searchsorted(ends, position, side="right"))
        start = position - int(ends[index - 1] if index else 0)
        return self._tracks[index].samples(start, start + size)

    def windows(
        self,
        encoder: Any,
        steps: int = 40,
        batch_size: int = 32,
        hop: int | None = None,
        offset: int | Literal["random"] = "random",
        shuffle: bool = True,
        random_seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        stateful: bool = False,
        **kwargs: Any,
    ) -> "Windows":
        """Cuts the music into batches of windows for `fit`: `steps` frames to predict from and to, one apart.

        Args:
            encoder: an `Encoder`; its `span(steps + 1)` is the length of a window.
            steps: frames that are predicted in each window.
            batch_size: windows a batch.
            hop: samples from one window to the next. `None`: `steps` frames, so that each frame is predicted once.
            offset: where the grid of windows starts, see `Windows`.
            shuffle: whether windows come in random order.
            random_seed: decides order and offsets.
            shard: (i, n): this process is number i of n, and gets every n-th window.
            stateful: whether each batch continues the one before, so that the state can be carried, see `Windows`.
            **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

        Returns:
            A `Windows`: batches `(pcm,)`, int16 of shape (B, span(steps + 1)).

        Raises:
            ValueError: if no window fits into any track (stateful: not `batch_size` of them one after the other), or if
                an argument is out of range.
        """
        from gruvlike.windows import Windows

        steps = positive_int("steps", steps)
        span, longest = encoder.span(steps + 1), max(map(len, self._tracks))
        if longest < span:
            raise ValueError(
                f"No window of steps={steps} fits: it needs {span} samples, the longest track has {longest}. "
                "Use fewer steps or smaller blocks."
            )
        if stateful and hop is not None:
            raise ValueError(
                f"Stateful windows follow each other by `steps` frames. Received: hop={hop!r}. Leave `hop` out."
            )
        hop = steps * encoder.hop if hop is None else hop
        return Windows(self, span, hop, batch_size, offset, shuffle, random_seed, shard, stateful, **kwargs)
