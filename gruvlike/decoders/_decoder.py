"""The contract of the way back."""

from collections.abc import Iterable, Iterator

import numpy as np


class Decoder:
    """Turns frames that arrive in pieces into one sound; the base class of all decoders.

    A subclass defines `stream`. Its samples are those that the frames cover fully, as `Encoder.decode` counts them: of
    T frames in all, `T * hop - overlap` samples, the first of them `overlap` samples after the start of the first
    frame (`overlap` is the encoder's attribute `lap`).

    Args:
        context: How many frames of the past sound on into the next sample: so many frames of a seed must stand before
            the frames of its song.
        whole: Whether the sound is better when all frames arrive in one piece.

    Attributes:
        context, whole: As given.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> class Silence(gl.decoders.Decoder):
        ...     def stream(self, pieces, seed=None):
        ...         for frames in pieces:
        ...             yield np.zeros((len(frames), 8 * frames.shape[1]), "float32")
        >>> [samples.shape for samples in Silence().stream([np.zeros((1, 3, 8))])]
        [(1, 24)]
    """

    def __init__(self, context: int = 0, whole: bool = False):
        self.context, self.whole = context, whole

    def stream(self, pieces: Iterable[np.ndarray], seed: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields the sound of frames that arrive in pieces, in constant memory.

        Args:
            pieces: Frames (T, F) or (B, T, F) in the encoder's units, that together are consecutive frames.
            seed: Samples (S,) or (B, S) of the sound under the first frames, where they are known: a song's pieces
                begin with the last `context` frames of its seed, and these are the samples under them.

        Yields:
            Float32 samples (S,) or (B, S), of any length; end to end they are the sound.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `stream(pieces, seed=None)`.")
