"""Chunks of sound, which the readers give, or the reason why there is none."""

from typing import NamedTuple

import numpy as np


class Chunk(NamedTuple):
    """A piece of sound.

    Attributes:
        rate: Samples per second.
        block: Float32 samples of shape (n, channels), valid until the next chunk is asked for.
    """

    rate: int
    block: np.ndarray


class FaultError(Exception):
    """A reader cannot read the file, or not to its end.

    Attributes:
        at: Seconds that were read before, at least; `None` if the file could not be opened.
        within: Seconds in which the place lies.
        promised: Seconds that the file should have; 0 where that is not known.
    """

    def __init__(self, reason: str, at: float | None = None, within: float = 0.0, promised: float = 0.0):
        super().__init__(reason.strip().rstrip("."))
        self.at, self.within, self.promised = at, within, promised
