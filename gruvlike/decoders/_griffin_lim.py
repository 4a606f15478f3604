"""Magnitudes without phases: the phase is rebuilt, piece by piece, from that of the sound before."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gruvlike import _checks
from gruvlike._arrays import scipy_fft
from gruvlike.decoders._decoder import Decoder
from gruvlike.decoders._pieces import overlap_added, short

TINY = 1e-12
LONGEST = 1024  # frames that are rebuilt at once: more of them would only take more memory


class SpectrumEncoder(Protocol):
    """As much of an encoder of magnitudes as Griffin-Lim needs."""

    frame_size: int
    hop: int
    lap: int
    analysis_window: np.ndarray

    def magnitudes(self, frames: np.ndarray) -> np.ndarray:
        """Returns the magnitudes (B, T, frame_size // 2 + 1) of frames (B, T, F), as `scipy.fft.rfft` scales them."""


class GriffinLim(Decoder):
    """Rebuilds phases: each spectral peak goes on as a sine would, then fast Griffin-Lim iterations correct the rest.

    The frames of the past keep their phases. Pieces fade into each other as frames do, but the sound depends on how the
    frames are cut into pieces: more frames at once give better phases. The same pieces always give the same sound, and
    a clip sounds the same alone and in a batch. Pieces of more than 1024 frames are cut, so that memory is constant.

    The relative error of the magnitudes of the sound, against those of the frames, on music whose frames were smoothed
    by 128 principal components (1024 samples a frame, hop 256): 0.22 in one piece, 0.23 in pieces of 16 frames, 0.26 in
    pieces of 4. `benchmarks/decoders.py` measures it.

    Args:
        encoder: A `LogSpectrum`; any object with `frame_size`, `hop`, `lap` (its overlap, in samples),
            `analysis_window` and `magnitudes` will do.
        iterations: Of Griffin-Lim.
        momentum: Of the fast method, in [0, 1]; 0 is the original method.
        random_seed: Of the phases of the first frame, where no seed is given.

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
        Beauregard, Harish and Wyse, "Single Pass Spectrogram Inversion", DSP 2015 (the start).
        Zhu, Beauregard and Wyse, "Real-Time Iterative Spectrum Inversion with Look-Ahead", ICME 2006 (the fixed past).
    """

    def __init__(self, encoder: SpectrumEncoder, iterations: int = 16, momentum: float = 0.99, random_seed: int = 0):
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
        past: list[np.ndarray] = []
        if seed is not None and self.context and seed.shape[-1] >= self.encoder.frame_size:
            past = [self._spectra(clip) for clip in np.atleast_2d(seed)]
        for piece in short(pieces, LONGEST):
            single = piece.ndim == 2
            piece = piece[None] if single else piece
            held = piece if held is None else np.concatenate([held, piece], axis=1)
            magnitudes = self.encoder.magnitudes(held)
            past = past or [np.zeros((0, magnitudes.shape[2]), "complex64")] * len(held)
            rebuilt = [self._rebuilt(*clip) for clip in zip(magnitudes, past, strict=True)]
            steps, keep = held.shape[1], min(held.shape[1], self.context)
            new = np.stack([sound[overlap + emitted : steps * hop] for sound, _ in rebuilt])
            if new.shape[1]:
                yield new[0] if single else new
            held, past = held[:, steps - keep :], [spectra[steps - keep :].copy() for _, spectra in rebuilt]
            emitted = max(0, keep * hop - overlap)

    def _spectra(self, sound: np.ndarray) -> np.ndarray:
        """Returns the complex spectra (T, frame_size // 2 + 1) of the frames inside a sound (S,)."""
        pieces = sliding_window_view(sound, self.encoder.frame_size)[:: self.encoder.hop]
        return scipy_fft().rfft(pieces * self.encoder.analysis_window)

    def _first_phases(self, magnitudes: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Returns unit complex numbers (T, K): the phase of each spectral peak goes on from the frame before.

        The bins around a peak get its phase, as those of one sine do. Phases that the past does not tell are random.
        """
        sources, turns = _peaks_and_turns(magnitudes, self.encoder.hop / self.encoder.frame_size)
        random = np.random.default_rng(self.random_seed).random(magnitudes.shape[1], "float32")
        past, phases = past[: len(magnitudes)], np.empty_like(turns)
        levels = np.abs(past)
        phases[:1] = np.exp(2j * np.pi * random)
        phases[: len(past)] = np.where(levels > TINY, past / np.maximum(levels, TINY), phases[:1])
        for t in range(max(len(past), 1), len(phases)):
            np.multiply(phases[t - 1, sources[t]], turns[t], out=phases[t])
        return phases

    def _rebuilt(self, magnitudes: np.ndarray, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns a sound, span(T) samples or a little more, with nearly the magnitudes (T, K), and its spectra (T, K).

        The spectra of the first frames, `past`, stay as they are.
        """
        window, size, hop = self.encoder.analysis_window, self.encoder.frame_size, self.encoder.hop
        squares = np.broadcast_to(window**2, (len(magnitudes), size))
        cover = np.maximum(overlap_added(squares, hop), 1e-3 * float(np.max(window**2)))
        spectrum = magnitudes * self._first_phases(magnitudes, past)
        previous, levels = np.zeros_like(spectrum), np.empty_like(magnitudes)
        for iteration in range(self.iterations + 1):
            spectrum[: len(past)] = past[: len(spectrum)]
            pieces = scipy_fft().irfft(spectrum, size)
            pieces *= window
            sound = overlap_added(pieces, hop)
            sound /= cover
            if iteration < self.iterations:
                consistent = self._spectra(sound)[: len(magnitudes)]
                previous *= -self.momentum / (1 + self.momentum)
                previous += consistent
                np.maximum(np.abs(previous, out=levels), TINY, out=levels)
                previous *= np.divide(magnitudes, levels, out=levels)
                spectrum, previous = previous, consistent
        return sound, spectrum


def _peaks_and_turns(magnitudes: np.ndarray, advance: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each bin (T, K) the nearest spectral peak, and the turn from that peak's phase, a frame before.

    Args:
        magnitudes: Of the frames, (T, K).
        advance: The hop as a share of the frame.
    """
    levels, bins = np.log(np.maximum(magnitudes, TINY)), np.arange(magnitudes.shape[1])
    rise, fall = np.diff(levels[:, :-1]), -np.diff(levels[:, 1:])
    offsets, peaks = np.zeros_like(levels), np.zeros(levels.shape, bool)
    peaks[:, 1:-1] = (rise > 0) & (fall >= 0)
    # The offset of a peak leads to the top of the parabola through the peak and its two neighbors.
    np.divide(0.5 * (rise - fall), rise + fall, out=offsets[:, 1:-1], where=peaks[:, 1:-1])
    below = np.maximum.accumulate(np.where(peaks, bins, -len(bins)), axis=1)
    above = np.minimum.accumulate(np.where(peaks, bins, 2 * len(bins))[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(bins - below <= above - bins, below, above)
    nearest = np.where(peaks.any(axis=1, keepdims=True), nearest, bins)
    frequencies = nearest + np.take_along_axis(offsets, nearest, axis=1)
    # Time begins at a frame's first sample, half a frame before its middle: there the bins of a sine alternate in sign.
    angles = np.float32(2 * np.pi) * (np.float32(advance) * frequencies - 0.5 * (bins - nearest)).astype("float32")
    turns = np.empty(angles.shape, "complex64")
    turns.real, turns.imag = np.cos(angles), np.sin(angles)
    return nearest, turns
