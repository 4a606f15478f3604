"""Takes of one seed, ranked by how close each stays to it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gruvlike import _checks
from gruvlike.metrics._levels import rms
from gruvlike.metrics._patterns import BEATS, rhythm_pattern, rhythm_similarity
from gruvlike.metrics._spectra import flux, frame_sizes, log_mel

# Each measure is divided by its number before they are added: a difference as large counts as 1.
_TOLERANCES = {"rhythm": 0.1, "spectrum_db": 2.0, "deviation_db": 1.0, "level_db": 2.0, "flux_db": 0.2}
_LAST = 3  # the last part of a song is one of so many
_FLOOR_DB = -80.0  # the level of a band is at least this
_SILENCE = 1e-6  # RMS


class RankedTake(NamedTuple):
    """One song of `rank_takes`.

    Attributes:
        number: Its place among the songs that were given.
        distance: How far it is from its seed: 0 or more, less is closer. It does not depend on the other songs.
        measures: The parts of the distance, each in its own unit, by name.
    """

    number: int
    distance: float
    measures: Mapping[str, float]


def rank_takes(
    songs: Sequence[np.ndarray], seed: np.ndarray, sample_rate: int, beat_seconds: float | None = None
) -> list[RankedTake]:
    """Ranks songs of one seed: those come first that stay closest to it, up to their end.

    **The rule.** Five measures are taken of each song beside its seed, over the whole song and over its last third,
    where songs that drift have drifted farthest; each is 0 where nothing differs:

    - `rhythm`: 1 - `rhythm_similarity` of the patterns of song and seed, at the beat of the seed: 0 to 2
    - `spectrum_db`: the difference of the mean log-mel spectra, root mean square over bands
    - `deviation_db`: the same of the standard deviations of the bands over time
    - `level_db`: the difference of the levels (RMS)
    - `flux_db`: the difference of `flux`

    A difference of 0.1 in rhythm, 2 dB in spectrum or level, 1 dB in the deviation, or 0.2 dB in flux counts as 1. The
    distance of a song is the mean of these ten numbers; less is better. A song that repeats a bar of its seed is close
    to it, too: the rule finds songs that drift, and does not say which is the best music. Where song or seed are
    shorter than a bar, rhythm is left out, and where the last third is, its rhythm.

    Args:
        songs: Samples of shape (S,) each, a fifth of a second or longer. They do not include the seed.
        seed: The sound that all of them go on from, a tenth of a second or longer.
        sample_rate: Samples per second.
        beat_seconds: Seconds from a beat of the seed to the next. Default: those that `gruvlike.rhythm.tempo` finds.

    Returns:
        A `RankedTake` for each song, the closest first.

    Raises:
        ValueError: If there is no song, a sound is too short or not mono and finite, or an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics, tune
        >>> music = tune.compose(12, 8000)
        >>> seed, song = music[:48_000], music[48_000:]
        >>> fading = song * np.linspace(1, 0, len(song))
        >>> [take.number for take in metrics.rank_takes([fading, song], seed, 8000, beat_seconds=0.5)]
        [1, 0]

    References:
        See `rhythm_pattern`, `log_mel_statistics` and `flux`.
    """
    rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    seed = _checks.mono("seed", seed)
    takes = [_checks.mono(f"songs[{number}]", song) for number, song in enumerate(songs)]
    if not takes:
        raise ValueError("`songs` must hold at least one song. Received: none.")
    _check_size("seed", len(seed), frame_sizes(rate)[0], rate)
    for song in takes:
        _check_size("song", len(song), _LAST * frame_sizes(rate)[0], rate)
    if beat_seconds is None:
        from gruvlike.rhythm._beat import find  # imported here because most measures need no beat

        beat_seconds = find(seed, rate).beat_seconds
    beat_seconds = _checks.number("beat_seconds", beat_seconds, 0.1, 10)
    found = [_measures(song, seed, rate, beat_seconds) for song in takes]
    ranked = [RankedTake(number, _distance(measures), measures) for number, measures in enumerate(found)]
    return sorted(ranked, key=lambda take: take.distance)


def _measures(song: np.ndarray, seed: np.ndarray, rate: int, beat_seconds: float) -> dict[str, float]:
    """Returns the measures of a song over the whole, and over its last third, by name."""
    start = len(song) - len(song) // _LAST
    parts = {"": (song, len(seed)), "_last": (song[start:], len(seed) + start)}
    mean, deviation = _spectrum(seed, rate)
    bar = BEATS * beat_seconds * rate
    pattern = rhythm_pattern(seed, rate, beat_seconds) if len(seed) >= bar else None
    found: dict[str, float] = {}
    for name, (part, place) in parts.items():
        if pattern is not None and len(part) >= bar:
            own = rhythm_pattern(part, rate, beat_seconds, start_seconds=place / rate)
            found[f"rhythm{name}"] = 1 - rhythm_similarity(own, pattern)
        own_mean, own_deviation = _spectrum(part, rate)
        level = max(rms(part), _SILENCE) / max(rms(seed), _SILENCE)
        found |= {
            f"spectrum_db{name}": rms(own_mean - mean),
            f"deviation_db{name}": rms(own_deviation - deviation),
            f"level_db{name}": abs(20 * float(np.log10(level))),
            f"flux_db{name}": abs(flux(part, rate) - flux(seed, rate)),
        }
    return found


def _distance(measures: Mapping[str, float]) -> float:
    return float(np.mean([value / _TOLERANCES[name.removesuffix("_last")] for name, value in measures.items()]))


def _spectrum(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of the log-mel spectrum, in dB, of each band."""
    levels = np.maximum(log_mel(samples, rate), _FLOOR_DB)
    return levels.mean(axis=0), levels.std(axis=0)


def _check_size(name: str, size: int, least: int, rate: int) -> None:
    if size < least:
        raise ValueError(
            f"Takes are ranked by a {name} of {least / rate:.3g} s or more. Received: {size / rate:.3g} s. "
            "Use a longer one."
        )
