"""Several songs of one seed, of which the best is wanted: ranked takes, and ends that join a sound that follows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gruvlike.generation._engine import Network
from gruvlike.generation._memory import Sampling
from gruvlike.metrics._spectra import frame_sizes, log_mel

_COMPARED_SECONDS = 0.5
_FLOOR_DB = -80.0  # the level of a band is at least this


class Take(NamedTuple):
    """One song of `Generator.takes`.

    Attributes:
        number: The argument `take` of `extend` that makes this song again.
        distance: How far it is from its seed: less is closer.
        measures: The parts of the distance, as `metrics.rank_takes` gives them.
        song: Float32 samples (S,).
    """

    number: int
    distance: float
    measures: Mapping[str, float]
    song: np.ndarray


def check_takes(network: Network, count: int, keep: int, sampling: Sampling) -> None:
    """Raises unless takes differ, and enough of them are drawn."""
    if keep > count:
        raise ValueError(f"`keep` must be at most `count`. Received: keep={keep}, count={count}.")
    if not (network.draws and sampling.temperature):
        raise ValueError(
            f"Takes differ by their draws. Received: a {type(network.head).__name__} head at temperature "
            f"{sampling.temperature:g}, which draws nothing. Use a head that draws, above temperature 0."
        )


def beyond_passage(after: np.ndarray, fade: int, sample_rate: int) -> int:
    """Returns how many samples of `after` the ends of candidates are compared with: half a second, if it has so many.

    Raises:
        ValueError: If it has less than the crossfade, or than a frame of the spectra.
    """
    least = max(fade, frame_sizes(sample_rate)[0])
    if len(after) < least:
        raise ValueError(
            f"`after` must be as long as the crossfade, and as {least / sample_rate:.3g} s. Received: "
            f"{len(after) / sample_rate:.3g} s. Use a longer sound, or a shorter `fade_seconds`."
        )
    return min(len(after), max(least, round(_COMPARED_SECONDS * sample_rate)))


def closest_end(songs: Sequence[np.ndarray], after: np.ndarray, sample_rate: int) -> int:
    """Returns the number of the song whose last samples sound most like those of `after`, which are as many.

    Compared are the log-mel spectra, frame by frame.

    Example:
        >>> rising, falling = np.linspace(0, 1, 1000), np.linspace(1, 0, 1000)
        >>> noise = np.random.default_rng(0).normal(size=1000)
        >>> closest_end([noise * rising, noise * falling], noise * falling, sample_rate=4000)
        1
    """
    wanted = np.maximum(log_mel(after, sample_rate), _FLOOR_DB)
    ends = [np.maximum(log_mel(song[-len(after) :], sample_rate), _FLOOR_DB) for song in songs]
    return int(np.argmin([np.abs(end - wanted).mean() for end in ends]))
