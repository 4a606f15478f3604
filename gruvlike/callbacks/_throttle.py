"""A bound on the time that repeated work takes beside a training."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Throttle:
    """Keeps repeated work to a small share of the time.

    Args:
        share: The share of the time, in (0, 1), that the work may take.

    Attributes:
        last: When the work was done last, by `time.monotonic`.
    """

    def __init__(self, share: float):
        self.share = share
        self.last = -math.inf
        self._cost = 0.0

    def is_due(self) -> bool:
        """Whether enough time has passed since the work was done last."""
        return time.monotonic() - self.last >= self._cost / self.share

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measures how long the work takes: the block."""
        start = time.monotonic()
        yield
        self.last = time.monotonic()
        self._cost = self.last - start
