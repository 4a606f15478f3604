"""Pieces of a stream: long ones are cut, and pieces of sound are added up."""

from collections.abc import Iterable, Iterator

import numpy as np


def short(pieces: Iterable[np.ndarray], longest: int) -> Iterator[np.ndarray]:
    """Yields pieces of frames (T, F) or (B, T, F), the longer ones in parts of `longest` frames, without empty ones."""
    for piece in pieces:
        for start in range(0, piece.shape[-2], longest):
            yield piece[..., start : start + longest, :]


def overlap_added(pieces: np.ndarray, hop: int) -> np.ndarray:
    """Returns the sum (T * hop + frame_size - hop,) of the pieces (T, frame_size), each one hop later than the last.

    The result is longer by up to one hop where the hop does not divide the frame. Nothing is copied.
    """
    steps, size = pieces.shape
    parts = -(-size // hop)
    blocks = np.zeros((steps + parts - 1, hop), "float32")
    for i in range(parts):
        part = pieces[:, i * hop : (i + 1) * hop]
        blocks[i : i + steps, : part.shape[1]] += part
    return blocks.reshape(-1)
