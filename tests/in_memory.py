"""Music in memory that keeps the contracts of the package and nothing more, as a user's own would."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Piece:
    """A `gruvlike._contracts.Track`."""

    name: str
    pcm: np.ndarray
    sample_rate: int = 8000

    def __len__(self):
        return len(self.pcm)


class Pieces(list):
    """A `gruvlike._contracts.Music`: a list of pieces."""

    sample_rate, high_pass_hz = 8000, None
