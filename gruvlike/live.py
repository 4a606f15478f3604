"""A song that plays while it is made: the engine between a stream of samples and a sound card.

The engine knows no sound card: something takes samples from it, and something fills it. A song that is made more slowly
than it plays leaves gaps of silence, which are counted. `gruvlike play` connects a generator and a sound card.
"""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import numpy as np

from gruvlike import _checks

_PATIENCE = 0.05  # seconds after which a waiting thread looks again whether it shall end


class Player:
    """Samples that are made in pieces and played in blocks, with a ring buffer between.

    `fill` and `pull` may be called from two threads, one each. As a context, a player fills itself from a thread of its
    own.

    Args:
        pieces: Samples in pieces (S,) of any length, such as `Generator.stream` yields them.
        sample_rate: Samples per second.
        buffer_seconds: Length of the buffer: a pause of the maker up to this length is inaudible, and a change of the
            song becomes audible so much later.

    Attributes:
        sample_rate, buffer_seconds: As given.
        underruns: Calls of `pull` that found fewer samples than they asked for, before the end of the song.
        missing: Samples that were silence for that reason.
        error: The exception that ended the pieces early, or `None`.

    Raises:
        ValueError: If `sample_rate` or `buffer_seconds` is out of its range.

    Example:
        >>> pieces = (np.full(3, value, "float32") for value in (0.1, 0.2))
        >>> player = Player(pieces, sample_rate=8, buffer_seconds=1.0)
        >>> player.fill()
        >>> player.pull(4), player.pull(4), player.underruns, player.ended
        (array([0.1, 0.1, 0.1, 0.2], dtype=float32), array([0.2, 0.2, 0. , 0. ], dtype=float32), 0, True)
    """

    def __init__(self, pieces: Iterable[np.ndarray], sample_rate: int, buffer_seconds: float = 1.0):
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self.buffer_seconds = _checks.number("buffer_seconds", buffer_seconds, 0, 600, open_low=True)
        self.underruns = self.missing = 0
        self.error: BaseException | None = None
        self._pieces = iter(pieces)
        self._rest = np.zeros(0, np.float32)  # of the last piece, where it did not fit
        self._ring = np.zeros(max(1, round(self.buffer_seconds * self.sample_rate)), np.float32)
        # Each of the two is written by one thread alone, so no lock is needed.
        self._written = self._read = 0
        self._is_last = False
        self._room, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def buffered_seconds(self) -> float:
        return (self._written - self._read) / self.sample_rate

    @property
    def ended(self) -> bool:
        """Whether all samples of the song were played."""
        return self._is_last and self._read == self._written

    def fill(self) -> None:
        """Takes pieces until the buffer is full, or the song has no more.

        Raises:
            ValueError: If a piece is not mono and finite.

        Example:
            >>> player = Player(iter([np.zeros(4), np.zeros(4)]), sample_rate=8, buffer_seconds=0.5)
            >>> player.fill()
            >>> player.buffered_seconds
            0.5
        """
        while self.fill_once():
            pass

    def fill_once(self) -> bool:
        """Takes one piece, as far as there is room for it.

        Returns:
            Whether there is room for more, and more to come.

        Raises:
            ValueError: As `fill`.

        Example:
            >>> player = Player(iter([np.zeros(2), np.zeros(2)]), sample_rate=8, buffer_seconds=0.5)
            >>> player.fill_once(), player.fill_once(), player.fill_once()
            (True, False, False)
        """
        room = len(self._ring) - (self._written - self._read)
        if not self._rest.size and room and not self._is_last:
            piece = next(self._pieces, None)
            if piece is None:
                self._is_last = True
            else:
                self._rest = _checks.mono("pieces", piece)
        now, self._rest = self._rest[:room], self._rest[room:]
        places = (self._written + np.arange(now.size)) % len(self._ring)
        self._ring[places] = now
        self._written += now.size
        return not self._is_last and now.size < room

    def pull(self, count: int) -> np.ndarray:
        """Returns the next samples at once: those that are missing are silence.

        Args:
            count: How many.

        Returns:
            Float32 samples (count,).

        Raises:
            ValueError: If `count` is no positive integer.

        Example:
            >>> player = Player(iter([np.full(2, 0.5)]), sample_rate=8)
            >>> player.pull(2), player.underruns
            (array([0., 0.], dtype=float32), 1)
        """
        count = _checks.positive_int("count", count)
        is_last = self._is_last  # this is read before the place of the writer, which may write its last samples between
        found = min(count, self._written - self._read)
        samples = np.zeros(count, np.float32)
        samples[:found] = self._ring[(self._read + np.arange(found)) % len(self._ring)]
        self._read += found
        if found < count and not is_last:
            self.underruns += 1
            self.missing += count - found
        self._room.set()
        return samples

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._keep_filled, name="gruvlike player", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_filled(self) -> None:
        try:
            while not self._stop.is_set() and not self._is_last:
                self._room.clear()
                if not self.fill_once():
                    self._room.wait(_PATIENCE)
        # The error belongs to the thread that plays: that thread raises it.
        except BaseException as error:
            self.error, self._is_last = error, True
