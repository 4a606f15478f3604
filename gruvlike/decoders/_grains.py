"""Music as a table of grains: short runs of frames that can be looked up by their likeness to other frames."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from gruvlike._contracts import AnyMusic
from gruvlike._music import tracks
from gruvlike.decoders._griffin_lim import SpectrumEncoder

FULL_SCALE = 32_768
QUIET = 1e-3  # magnitude below which loudness makes no difference
NUMBERS = 48  # principal components of a frame, by which grains are compared
STRONGEST = 16  # the table is searched by so many of them
STRIDE = 2  # frames from grain to grain
_AT_ONCE = 64  # grains that are looked up at once: a bound of memory


@runtime_checkable
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
        numbers: The principal components of each frame, float32 (N, D).
        starts: The first frame of each grain of the table, (G,).
        table: The strongest components of the frames 0 to `size` of each grain, float32 (G, (size + 1) * D').
        norms: The sum of the squares of each row of the table, (G,).
        mean: Of the frames, float32 (F,).
        directions: Of the components, for frames without their mean, float32 (F, D).
    """

    samples: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    table: np.ndarray
    norms: np.ndarray
    mean: np.ndarray
    directions: np.ndarray

    def numbers_of(self, frames: np.ndarray) -> np.ndarray:
        """Returns the principal components (T, D) of frames (T, F)."""
        return (frames - self.mean) @ self.directions

    def nearest(self, wanted: np.ndarray, count: int) -> np.ndarray:
        """Returns the first frames (n, count) of the grains that are nearest to n runs of numbers (n, size + 1, D)."""
        found = []
        rows = wanted[:, :, :STRONGEST].reshape(len(wanted), -1)
        for some in np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE)):
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
    mean, directions = _components(encoder, excerpts)
    numbers = [(encoder.encode(excerpt, padded=False) - mean) @ directions for excerpt in excerpts]
    starts, places, frame, sample = [], [], 0, 0
    for excerpt, one in zip(excerpts, numbers, strict=True):
        # The grain that goes on from a grain must lie in the same excerpt.
        starts.append(frame + np.arange(0, len(one) - 2 * size - 1, STRIDE))
        places.append(sample + encoder.hop * np.arange(len(one)))
        frame, sample = frame + len(one), sample + len(excerpt)
    every, first = np.concatenate(numbers), np.concatenate(starts)
    samples = np.concatenate([*excerpts, np.zeros(encoder.span(2 * size), "float32")])  # a grain may be moved a little
    table = np.concatenate([every[first + k, :STRONGEST] for k in range(size + 1)], axis=1)
    norms = np.einsum("ij,ij->i", table, table)
    return Grains(samples, np.concatenate(places), every, first, table, norms, mean, directions)


def _components(encoder: GrainEncoder, excerpts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the frames, and the strongest principal directions of standardized frames, over them."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for excerpt in excerpts:
        frames = encoder.encode(excerpt, padded=False).astype("float64")
        count, total, squares = count + len(frames), total + frames.sum(axis=0), squares + frames.T @ frames
    mean = total / count
    covariance = squares / count - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0)) + QUIET
    directions = np.linalg.eigh(covariance / np.outer(deviation, deviation))[1][:, ::-1][:, :NUMBERS]
    return mean.astype("float32"), (directions / deviation[:, None]).astype("float32")


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
