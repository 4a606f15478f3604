"""One reader of music: named tracks of whatever holds music, and the frames of windows, batch by batch.

Nothing is copied and nothing is held: tracks are views of a mapped file or of the arrays that were given.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gruvlike._contracts import AnyMusic, Batches, FramesOfSound, Music, Tensor, Track, as_batch

_BATCH_SIZE = 32  # rows of an array that make a batch of windows


class Sound(NamedTuple):
    """A track with its name, whatever it was given as.

    Attributes:
        name: The name of the track; its number where tracks have no names.
        samples: Samples (S,), float in [-1, 1] or int16 PCM.
    """

    name: str
    samples: np.ndarray


def tracks(music: AnyMusic) -> Iterator[Sound]:
    """Yields the tracks of whatever holds music, each with its name.

    Args:
        music: A `Corpus` or other `Music`; one track; samples (S,); a batch (B, S); or several tracks, each of them a
            `Track`, samples, or (name, samples).

    Yields:
        A `Sound` for each track, or for each row of a batch.

    Raises:
        ValueError: If a track is not mono samples, or there is none.

    Example:
        >>> [name for name, samples in tracks([np.zeros(4), ("bass", np.zeros(8, "int16"))])]
        ['0', 'bass']
    """
    several = [music] if isinstance(music, Track) or (isinstance(music, np.ndarray) and music.ndim == 1) else music
    index = -1
    for index, track in enumerate(several):
        if isinstance(track, np.ndarray):  # the quick check comes first: a check by protocol takes its time
            yield _checked(str(index), track)
        elif isinstance(track, tuple) and len(track) == 2 and isinstance(track[0], str):
            yield _checked(*track)
        elif isinstance(track, Track):
            yield _checked(track.name, track.pcm)
        else:
            yield _checked(str(index), np.asarray(track))
    if index < 0:
        raise ValueError("The music must hold at least one track. Received: none.")


def _checked(name: str, samples: np.ndarray) -> Sound:
    samples = np.asarray(samples)  # slices of a plain array are made faster than slices of a memory map
    if samples.ndim != 1 or not samples.size or (samples.dtype != np.int16 and samples.dtype.kind != "f"):
        raise ValueError(
            f"A track must be mono samples of shape (S,), S > 0, float or int16. Received: {name!r}, "
            f"shape={samples.shape}, dtype={samples.dtype}."
        )
    return Sound(name, samples)


def sample_rate_of(music: AnyMusic) -> int | None:
    """Returns the sample rate of a corpus or a track; samples alone have none."""
    return music.sample_rate if isinstance(music, Music | Track) else None


def rows(array: np.ndarray, count: int) -> list[np.ndarray]:
    """Cuts an array (B, S) into batches of `count` rows; the last one may be smaller."""
    return [array[start : start + count] for start in range(0, len(array), count)]


def frames(
    windows: Batches | np.ndarray,
    encoder: FramesOfSound,
    normalizer: Callable[[Tensor], Tensor],
    limit: int | None = None,
) -> Iterator[np.ndarray]:
    """Yields the normalized frames of windows, batch by batch.

    Args:
        windows: A `Windows` or another sequence of batches; or PCM (B, S), each row a window.
        encoder: The encoder that makes the frames.
        normalizer: The normalizer that scales them.
        limit: How many frames to yield, about, in batches that are evenly chosen. `None`: all of them.

    Yields:
        Float32 frames (B, T, W).
    """
    from keras import ops

    parts: Batches = [(part,) for part in rows(windows, _BATCH_SIZE)] if isinstance(windows, np.ndarray) else windows
    index, step = 0.0, 1.0
    while index < len(parts):
        pcm = as_batch(parts[int(index)][0])["pcm"]
        scaled = ops.convert_to_numpy(normalizer(encoder.encode(pcm, padded=False)))
        yield scaled
        if limit:
            step = max(1.0, len(parts) * scaled.shape[0] * scaled.shape[1] / limit)
        index += step
