"""The PCM of many tracks in one HDF5 file, mapped into memory.

A corpus holds 16-bit mono PCM at one sample rate: 2 bytes a sample, where the spectra of 2015 took 32. `Corpus.build`
makes it from music files, `Corpus(file)` opens it, and a part of a split behaves as a corpus too. Nothing is loaded:
tracks are views of the mapped file. Each track knows its beat. This module needs no Keras (but for `Corpus.windows`).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gruvlike._checks import MOST_HZ, at_most, choice, number, positive_int
from gruvlike._contracts import FramesOfSound
from gruvlike.corpus import _beats, _build, _file, _parallel, _split
from gruvlike.corpus._track import Track, crc_of, not_as_written

if TYPE_CHECKING:
    from gruvlike._contracts import HasBeat, Music
    from gruvlike.windows import Windows

__all__ = ["Corpus", "Track"]

_LEAST_TRACKS = 2  # "auto" cuts in time where a part would get fewer: one piece would stand for all music


class Corpus:
    """Tracks of mono 16-bit PCM at one sample rate, in one file.

    Args:
        file: A file that `Corpus.build` made.

    Attributes:
        file: The file that holds the PCM.
        sample_rate: Samples per second.
        high_pass_hz: Cutoff of the high-pass that the music went through, or `None`.
        seconds: Length of all tracks together.
        format_version: Version of the format of the file.
        skipped: (path, reason) of each file that the build left out; empty for a corpus that was opened.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, is no corpus, or was made by a newer version.

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
        self.sample_rate, self.high_pass_hz, self._tracks, self.format_version = _file.read(file)
        self.skipped: list[tuple[str, str]] = []

    @classmethod
    def build(
        cls,
        paths: _build.Paths,
        file: str | os.PathLike,
        sample_rate: int,
        high_pass_hz: float | None = 20.0,
        executor: Executor | None = None,
        strict: bool = False,
    ) -> "Corpus":
        """Makes a corpus file from music.

        Files are prepared in parallel into parts beside `file` (in "<file>.parts": as much space again, until the end).
        A build that was interrupted uses them when it is started again. A corpus that stands under the name is
        replaced when all is done, and not before; its tracks of the same content and settings are taken over, with
        beats that were given by hand. A track whose file is not among `paths` leaves it, which a warning says. The beat
        of each new track is found, as `gruvlike.rhythm.tempo` does.

        Args:
            paths: A folder (searched with all below), an audio file, or several of either.
            file: The corpus to write, for instance "music.h5".
            sample_rate: Samples per second; music at another rate is resampled.
            high_pass_hz: Cutoff of the high-pass that removes DC and infrasound (Butterworth, second order, causal);
                `None` keeps them.
            executor: Any `concurrent.futures.Executor` to prepare files in. `None` takes a thread for each core.
            strict: Whether to raise, instead of leaving files out, when some are unreadable or silent.

        Returns:
            The corpus, opened. Its `skipped` lists the files that were left out, with the reason.

        Raises:
            FileNotFoundError: If music or the folder of `file` does not exist.
            ValueError: If no file is usable (with `strict`: not all), or if `file` exists and is no corpus.
            OSError: If the disk is full, or too small by an estimate at the start; an earlier corpus is intact then.
            BlockingIOError: If another process builds the same file.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for seed, name in enumerate(("first", "second")):
            ...         gl.audio.write(f"{folder}/{name}.wav", gl.tune.compose(2, 8000, random_seed=seed), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=4000)
            ...     [(track.name, track.seconds) for track in corpus]
            [('first.wav', 2.0), ('second.wav', 2.0)]
        """
        rate = at_most("sample_rate", sample_rate, MOST_HZ)
        if high_pass_hz is not None:
            high_pass_hz = number("high_pass_hz", high_pass_hz, low=0, high=rate * 0.499, open_low=True)
        skipped = _build.build(paths, Path(file), rate, high_pass_hz, executor, strict)
        corpus = cls(file)
        corpus.skipped = skipped
        return corpus

    def add_beats(self, bpm: Mapping[str, float] | None = None) -> list[str]:
        """Finds the beats that the file lacks, without reading the music files again, and writes it again with them.

        A file that an older version of gruvlike made has no beats. The new file takes the name when it is complete.
        Another `Corpus` of the same file, or a part of one, has to be opened, or split, again.

        Args:
            bpm: Beats per minute by the name of the track, where the tempo is known: phase and confidence are found for
                it, and they replace the beat that the track has.

        Returns:
            The names of the tracks whose beats are new.

        Raises:
            ValueError: If there is no track of such a name, `bpm` is out of range, or music is not as it was written.
            OSError: If the disk is full; the file is as it was then.
            BlockingIOError: If the file is being built now.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(8, 8000), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     found = corpus[0].beat.bpm
            ...     corpus.add_beats(bpm={"tune.wav": 60})
            ...     round(found), round(corpus[0].beat.bpm)
            ['tune.wav']
            (120, 60)
        """
        self._tracks[0]._map.require_same()
        place = {track._offset: index for index, track in enumerate(_file.read(self.file).tracks)}
        places = [place[track._offset] for track in self._tracks]
        added = _beats.add(self.file, dict(bpm or {}))
        if added:
            tracks = _file.read(self.file).tracks
            sections = zip(places, self._tracks, strict=True)
            self._tracks = tuple(replace(tracks[i], start=old.start, stop=old.stop) for i, old in sections)
        return added

    def verify(self) -> list[str]:
        """Compares the music with its checksums, which takes one pass over the file.

        Without this call, each track is compared when its first window is read.

        Returns:
            The names of tracks without a checksum, which an older version wrote: they may be whole or not. A build onto
            the file gives them one.

        Raises:
            ValueError: If music is not as it was written, with the names of all such tracks.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     corpus.verify()
            []
        """
        tracks = [track for track in self._tracks if track.checksum is not None]
        found = _parallel.run(crc_of, tracks, [track._length for track in tracks], "Verifying", "track")
        pairs = zip(tracks, found, strict=True)
        damaged = sorted({repr(track.name) for track, checksum in pairs if checksum != track.checksum})
        if damaged:
            raise not_as_written(f"{', '.join(damaged)} in {str(self.file)!r}")
        return [track.name for track in self._tracks if track.checksum is None]

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
            validation: Share of the music to hold out, in (0, 1).
            test: Share to hold out beside it, in [0, 1).
            by: "track" holds out whole tracks (equal music stays together), "time" the end of each track, "auto" whole
                tracks if every part gets at least two pieces of music, else the ends.
            gap_seconds: With "time", unused music before each held-out end, so that neighbors do not leak. It
                shrinks (to half of the part that it is taken from) rather than empty a part.

        Returns:
            (train, validation), or (train, validation, test) if `test` is above 0.

        Raises:
            ValueError: If shares are out of range, or a part would be empty.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(10, 8000), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     train, validation = corpus.split(validation=0.2, gap_seconds=0.5)
            ...     train.seconds, validation.seconds
            (7.5, 2.0)
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
        if by == "time" or (by == "auto" and min(map(_split.count, parts)) < _LEAST_TRACKS):
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
            seconds: Length of the excerpt.
            random_seed: An integer; the same one gives the same excerpt.

        Returns:
            Float32 samples of shape (round(seconds * sample_rate),).

        Raises:
            ValueError: If no track is long enough.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     corpus.excerpt(seconds=1.5, random_seed=0).shape
            (12000,)
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
        encoder: FramesOfSound,
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
        """Cuts the music into batches of windows for `fit`: each holds `steps` frames to read, and the same one later.

        Args:
            encoder: An `Encoder`; its `span(steps + 1)` is the length of a window.
            steps: Frames that are predicted in each window.
            batch_size: Windows a batch.
            hop: Samples from one window to the next. `None`: `steps` frames, so that each frame is predicted once.
            offset: Where the grid of windows starts, see `Windows`.
            shuffle: Whether windows come in random order.
            random_seed: Decides order and offsets.
            shard: (i, n): this process is number i of n, and gets every n-th window.
            stateful: Whether each batch continues the one before, so that the state can be carried, see `Windows`.
            **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

        Returns:
            A `Windows`: batches `({"pcm": pcm},)`, int16 of shape (B, span(steps + 1)).

        Raises:
            ValueError: If no window fits into any track (stateful: not `batch_size` of them one after the other), or if
                an argument is out of range.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     windows = corpus.windows(gl.BlockDFT(block_size=400), steps=9, batch_size=2)
            ...     (batch,) = windows[0]
            ...     len(windows), batch["pcm"].shape, batch["pcm"].dtype.name
            (5, (2, 4000), 'int16')
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


if TYPE_CHECKING:  # a type checker compares the class with its contract

    def _is_music(corpus: Corpus) -> Music[Track]:
        return corpus

    def _has_beat(track: Track) -> HasBeat:
        return track
