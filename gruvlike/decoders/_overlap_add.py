"""Frames that determine the sound: each piece is decoded together with the frames that sound on into it."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from gruvlike.decoders._decoder import Decoder


class FrameEncoder(Protocol):
    """As much of an encoder as overlap-add needs."""

    hop: int
    lap: int

    def decode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the samples that a run of frames covers fully."""


class OverlapAdd(Decoder):
    """Decodes each piece of frames together with the `context` frames before it: the pieces join without a seam.

    Args:
        encoder: An `Encoder`; any object with `hop`, `lap` (its overlap, in samples) and `decode` will do.

    Example:
        >>> import gruvlike as gl
        >>> encoder = gl.TimeBlocks(2)
        >>> frames = encoder.encode([0.5, 0.25, 0.125])
        >>> list(OverlapAdd(encoder).stream([frames[:1], frames[1:]]))
        [array([0.5 , 0.25], dtype=float32), array([0.125, 0.   ], dtype=float32)]
    """

    def __init__(self, encoder: FrameEncoder):
        super().__init__(context=-(-encoder.lap // encoder.hop))
        self.encoder = encoder

    def stream(self, pieces: Iterable[np.ndarray], seed: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields the sound of frames that arrive in pieces; joined, it equals `encoder.decode` of all of them.

        Args:
            pieces: Frames (T, F) or (B, T, F), that together are consecutive frames.
            seed: Not needed: the first frames say how the seed sounds on.

        Yields:
            Float32 samples (S,) or (B, S).
        """
        hop, overlap = self.encoder.hop, self.encoder.lap
        held: np.ndarray | None = None  # the frames that the next piece overlaps
        emitted = 0  # samples of the held frames that have been yielded
        for piece in pieces:
            if not piece.shape[-2]:
                continue
            held = np.asarray(piece) if held is None else np.concatenate([held, piece], axis=-2)
            samples = self.encoder.decode(held)
            if samples.shape[-1] > emitted:
                yield samples[..., emitted:]
            held = held[..., max(0, held.shape[-2] - self.context) :, :]
            emitted = max(0, held.shape[-2] * hop - overlap)
