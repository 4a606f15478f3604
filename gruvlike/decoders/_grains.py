"""Music as a table of grains: short runs of frames that can be looked up by their loudness in bands."""

from typing import NamedTuple, Protocol

import numpy as np

from gruvlike._contracts import AnyMusic
from gruvlike._music import tracks
from gruvlike.decoders._griffin_lim import SpectrumEncoder

FULL_SCALE = 32_768
QUIET = 1e-3  # magnitude below which loudness makes no difference
BANDS = 48  # of loudness, by which grains are found
STRIDE = 2  # frames from grain to grain
_AT_ONCE = 16  # grains that are looked up at once: a bound of memory


class GrainEncoder(SpectrumEncoder, Protocol):
    """As much of a `LogSpectrum` as unit selection needs."""

    def encode(self, samples: np.ndarray, padded: bool) -> np.ndarray:
        """Returns the frames (T, F) of samples (S,)."""

    def span(self, steps: int) -> int:
        """Returns how many samples lie under so many frames."""


class Grains(NamedTuple):
    """Excerpts of music, one after the other, and a table of the grains in them; `cut_grains` makes it.

    Attributes:
        samples: Of all excerpts, float32 (S,).
        places: The first sample of each frame, (N,).
        levels: Loudness in bands of each frame, in units of its deviation over the music, float32 (N, D).
        starts: The first frame of each grain of the table, (G,).
        table: Levels of the frames 0 to `size` of each grain, float32 (G, (size + 1) * D).
        norms: The sum of the squares of each row of the table, (G,).
        mean, deviation: Of the loudness in each band, (D,).
        edges: The first bin of each band.
    """

    samples: np.ndarray
    places: np.ndarray
    levels: np.ndarray
    starts: np.ndarray
    table: np.ndarray
    norms: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    edges: np.ndarray

    def levels_of(self, magnitudes: np.ndarray) -> np.ndarray:
        """Returns the levels (T, D) of frames with these magnitudes (T, K)."""
        return ((loudness(magnitudes, self.edges) - self.mean) / self.deviation).astype("float32")

    def nearest(self, wanted: np.ndarray, count: int) -> np.ndarray:
        """Returns the first frames (n, count) of the grains of the table that are nearest to the rows (n, ...)."""
        found = []
        for some in np.split(wanted.reshape(len(wanted), -1), range(_AT_ONCE, len(wanted), _AT_ONCE)):
            distances = self.norms - 2 * some @ self.table.T
            found.append(self.starts[np.argpartition(distances, count - 1, axis=1)[:, :count]])
        return np.concatenate(found)


def edges_of(bands: int, bins: int) -> np.ndarray:
    """Returns the first bin of each band: geometric, as far as whole bins allow; the first band begins at 0."""
    edges = np.unique(np.round(np.geomspace(2, bins, bands + 1)).astype(int))[:-1]
    edges[0] = 0
    return edges


def loudness(magnitudes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the root of the energy (T, D) of magnitudes (T, K) in bands."""
    return 0.5 * np.log(np.add.reduceat(magnitudes**2, edges, axis=1) + QUIET**2)


def cut_grains(encoder: GrainEncoder, music: AnyMusic, size: int, limit: int) -> Grains:
    """Cuts at most `limit` grains of `size` frames from music; of more music, evenly spread excerpts of ten seconds."""
    excerpts = _excerpts(encoder, music, size, limit)
    edges = edges_of(BANDS, encoder.frame_size // 2 + 1)
    levels = [loudness(encoder.magnitudes(encoder.encode(x, padded=False)[None])[0], edges) for x in excerpts]
    first_frames = np.cumsum([0, *map(len, levels)])
    first_samples = np.cumsum([0, *map(len, excerpts)])
    every = np.concatenate(levels)
    mean, deviation = every.mean(axis=0), every.std(axis=0) + 1e-3
    every = ((every - mean) / deviation).astype("float32")
    # A grain is followed by another one of its excerpt: the one that continues it must exist.
    starting = [
        first + np.arange(0, len(one) - 2 * size - 1, STRIDE) for first, one in zip(first_frames, levels, strict=False)
    ]
    places = [first + encoder.hop * np.arange(len(one)) for first, one in zip(first_samples, levels, strict=False)]
    starts = np.concatenate(starting)
    table = np.concatenate([every[starts + k] for k in range(size + 1)], axis=1)
    return Grains(
        *(
            np.concatenate([*excerpts, np.zeros(encoder.span(2 * size), "float32")]),
            np.concatenate(places),
            every,
            starts,
            table,
        ),
        *((table**2).sum(axis=1), mean, deviation, edges),
    )


def _excerpts(encoder: GrainEncoder, music: AnyMusic, size: int, limit: int) -> list[np.ndarray]:
    """Returns float32 excerpts of the tracks that hold about `limit` grains, or all the music."""
    sounds = [sound.samples for sound in tracks(music)]
    shortest, room = encoder.span(4 * size), limit * STRIDE * encoder.hop
    total = sum(map(len, sounds))
    length = max(shortest, min(room, 640 * encoder.hop)) if total > room else total
    pieces = [sound[start : start + length] for sound in sounds for start in range(0, len(sound), length)]
    pieces = [piece for piece in pieces if len(piece) >= shortest]
    if not pieces:
        raise ValueError(
            f"A track must hold {shortest} samples, a few grains. Received: {max(map(len, sounds))} at most."
        )
    kept = np.unique(np.linspace(0, len(pieces) - 1, max(1, min(len(pieces), room // length))).astype(int))
    return [_as_float(pieces[k]) for k in kept]


def _as_float(samples: np.ndarray) -> np.ndarray:
    scale = np.float32(FULL_SCALE if samples.dtype == np.int16 else 1)
    return samples.astype("float32") / scale
