"""Magnitudes without phases: the phase is rebuilt, piece by piece, from that of the sound before."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from gruvlike import _checks
from gruvlike._arrays import HOST, cut, overlap_add, scipy_fft
from gruvlike.decoders._decoder import Decoder

TINY = 1e-12


class SpectrumEncoder(Protocol):
    """As much of an encoder of magnitudes as Griffin-Lim needs."""

    frame_size: int
    hop: int
    lap: int
    analysis_window: np.ndarray

    def magnitudes(self, frames: np.ndarray) -> np.ndarray:
        """Returns the magnitudes (B, T, frame_size // 2 + 1) of frames (B, T, F), as `scipy.fft.rfft` scales them."""


class GriffinLim(Decoder):
    """Rebuilds phases by the fast Griffin-Lim method, with the phases of the frames before held fixed.

    Pieces fade into each other as frames do, but the sound depends on how the frames are cut into pieces: more frames
    at once give better phases. The same pieces always give the same sound.

    Args:
        encoder: A `LogSpectrum`; any object with `frame_size`, `hop`, `lap` (its overlap, in samples),
            `analysis_window` and `magnitudes` will do.
        iterations: Of Griffin-Lim.
        momentum: Of the fast method, in [0, 1]; 0 is the original method.
        random_seed: Of the phases to start from.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> encoder = gl.LogSpectrum(frame_size=64)
        >>> frames = encoder.encode(np.sin(np.arange(800) / 9).astype("float32"))
        >>> sound = np.concatenate(list(GriffinLim(encoder, iterations=8).stream([frames[:20], frames[20:]])))
        >>> len(sound) == len(frames) * encoder.hop - encoder.lap
        True

    References:
        Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier Transform", IEEE TASSP 32, 1984.
        Perraudin, Balazs and Søndergaard, "A Fast Griffin-Lim Algorithm", WASPAA 2013.
        Zhu, Beauregard and Wyse, "Real-Time Iterative Spectrum Inversion with Look-Ahead", ICME 2006 (the fixed past).
    """

    def __init__(self, encoder: SpectrumEncoder, iterations: int = 32, momentum: float = 0.99, random_seed: int = 0):
        super().__init__(context=-(-encoder.lap // encoder.hop), whole=True)
        self.encoder = encoder
        self.iterations = _checks.positive_int("iterations", iterations)
        self.momentum = _checks.number("momentum", momentum, 0.0, 1.0)
        self.random_seed = _checks.positive_int("random_seed", random_seed, minimum=0)

    def stream(self, pieces: Iterable[np.ndarray], seed: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields the sound of frames that arrive in pieces, in constant memory.

        Args:
            pieces: Frames (T, F) or (B, T, F), that together are consecutive frames.
            seed: Samples (S,) or (B, S) under the first frames, where they are known: these frames keep their phases,
                and the sound fades out of them.

        Yields:
            Float32 samples (S,) or (B, S), as many as `encoder.decode` gives for all the frames at once.
        """
        hop, overlap = self.encoder.hop, self.encoder.lap
        held: np.ndarray | None = None  # the frames that the next piece overlaps
        emitted = 0  # samples of the held frames that have been yielded
        past = None if seed is None or not self.context else self._spectra(np.atleast_2d(seed))
        for piece in pieces:
            if not piece.shape[-2]:
                continue
            single = piece.ndim == 2
            piece = piece[None] if single else piece
            held = piece if held is None else np.concatenate([held, piece], axis=1)
            sound, spectra = self._rebuilt(self.encoder.magnitudes(held), past)
            steps, keep = held.shape[1], min(held.shape[1], self.context)
            new = sound[:, overlap + emitted : steps * hop]
            if new.shape[1]:
                yield new[0] if single else new
            held, past = held[:, steps - keep :], spectra[:, steps - keep :]
            emitted = max(0, keep * hop - overlap)

    def _spectra(self, sound: np.ndarray) -> np.ndarray:
        """Returns the complex spectra (B, T, frame_size // 2 + 1) of the frames inside a sound (B, S)."""
        pieces = cut(sound, self.encoder.frame_size, self.encoder.hop, False, HOST)
        return scipy_fft().rfft(pieces * self.encoder.analysis_window)

    def _rebuilt(self, magnitudes: np.ndarray, past: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns a sound (B, span(T) or a little more) with nearly these magnitudes, and the spectra that made it.

        The spectra of the first frames, `past`, stay as they are.
        """
        window, size, hop = self.encoder.analysis_window, self.encoder.frame_size, self.encoder.hop
        random = np.random.default_rng(self.random_seed)
        spectrum = magnitudes * np.exp(2j * np.pi * random.random(magnitudes.shape, "float32"))
        known = 0 if past is None else min(past.shape[1], magnitudes.shape[1])
        squares = np.broadcast_to(window**2, (1, magnitudes.shape[1], size))
        cover = np.maximum(np.asarray(overlap_add(squares, hop, HOST)), 1e-3 * float(np.max(window**2)))
        previous = np.zeros_like(spectrum)
        for iteration in range(self.iterations + 1):
            if past is not None:
                spectrum[:, :known] = past[:, :known]
            sound = overlap_add(scipy_fft().irfft(spectrum, size) * window, hop, HOST) / cover
            if iteration < self.iterations:
                consistent = self._spectra(sound)[:, : magnitudes.shape[1]]
                spectrum = consistent - self.momentum / (1 + self.momentum) * previous
                spectrum *= magnitudes / np.maximum(np.abs(spectrum), TINY)
                previous = consistent
        return sound, spectrum
