"""Overlap-add of one clip on the host, without copies."""

import numpy as np


def overlap_added(pieces: np.ndarray, hop: int) -> np.ndarray:
    """Returns the sum (T * hop + frame_size - hop,) of the pieces (T, frame_size), each one hop later than the last.

    The result is longer by up to one hop where the hop does not divide the frame.
    """
    steps, size = pieces.shape
    parts = -(-size // hop)
    blocks = np.zeros((steps + parts - 1, hop), "float32")
    for i in range(parts):
        part = pieces[:, i * hop : (i + 1) * hop]
        blocks[i : i + steps, : part.shape[1]] += part
    return blocks.reshape(-1)
