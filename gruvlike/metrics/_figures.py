"""The figures of one sound, by the name of the measure: alone, beside the reference, and beside its seed."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gruvlike import _checks
from gruvlike._music import Sound
from gruvlike.metrics._copies import CopyScore, copy_score
from gruvlike.metrics._frechet import frechet_distance
from gruvlike.metrics._levels import energy_curve, energy_drift_db
from gruvlike.metrics._patterns import BEATS, STEPS, found_beat, rhythm_pattern, rhythm_similarity
from gruvlike.metrics._pulse import onset_envelope, onset_rate_of, pulse_of
from gruvlike.metrics._repetition import repetition
from gruvlike.metrics._spectra import (
    flatness_excess_db,
    flux,
    log_spectral_distance,
    spectral_convergence,
    spectral_flatness,
)
from gruvlike.metrics._ticks import tick_level_db, tick_ratio

LEAST_SECONDS = 4

Figures = dict[str, float]


class Reference(NamedTuple):
    """The music that a song is compared with.

    Attributes:
        sounds: All tracks, in which copies are searched for.
        pieces: Samples cut from them, as long as the song; the other measures compare with these.
        hop: Samples from one block of the song to the next.
        sample_rate: Samples per second.
        embed: Function from samples to vectors, of the Fréchet distance.
    """

    sounds: list[Sound]
    pieces: list[np.ndarray]
    hop: int
    sample_rate: int
    embed: Callable[[np.ndarray], np.ndarray]


class Seed(NamedTuple):
    """The sound that a song goes on from.

    Attributes:
        samples: Samples (S,).
        beat_seconds: Seconds from a beat to the next.
    """

    samples: np.ndarray
    beat_seconds: float


def alone(pieces: list[np.ndarray], hop: int, rate: int) -> Figures:
    """Returns the figures that need no other sound; the mean over the pieces where a piece has a rhythm of its own."""
    sound = np.concatenate(pieces)
    long = [piece for piece in pieces if len(piece) >= LEAST_SECONDS * rate] or [sound]
    envelopes = [onset_envelope(piece, rate, LEAST_SECONDS) for piece in long]
    return {
        "tick_ratio": tick_ratio(sound, hop),
        "tick_level_db": tick_level_db(sound, hop),
        "level_db": energy_curve(sound, len(sound))[0],
        "spectral_flatness": spectral_flatness(sound),
        "flux": flux(sound, rate),
        "pulse": float(np.mean([pulse_of(envelope) for envelope in envelopes])),
        "onset_rate": float(np.mean([onset_rate_of(envelope) for envelope in envelopes])),
        "repetition": float(np.mean([repetition(piece, rate) for piece in long])),
    }


def compared(song: np.ndarray, reference: Reference) -> tuple[Figures, CopyScore]:
    """Returns the figures of a song beside the reference, and its copies of the reference."""
    music = np.concatenate(reference.pieces)
    figures = alone([song], reference.hop, reference.sample_rate)
    copies = copy_score(song, reference.sounds, reference.sample_rate)
    return figures | {
        "tick_excess_db": figures["tick_level_db"] - tick_level_db(music, reference.hop),
        "energy_drift_db": energy_drift_db(song, music),
        "spectral_convergence": spectral_convergence(song, music, aligned=False),
        "log_spectral_distance": log_spectral_distance(song, music, aligned=False),
        "flatness_excess_db": flatness_excess_db(song, music),
        "copy_score": copies.score,
        "copy_score_spectrum": copy_score(song, reference.sounds, reference.sample_rate, on="spectrum").score,
        "frechet_distance": frechet_distance(reference.embed, music, song),
    }, copies


def of_reference(reference: Reference) -> Figures:
    """Returns the figures of the reference itself; the Fréchet distance is that of its halves."""
    pieces = reference.pieces
    music = np.concatenate(pieces)
    halves = (pieces[::2], pieces[1::2]) if len(pieces) > 1 else (music[: len(music) // 2], music[len(music) // 2 :])
    figures = alone(pieces, reference.hop, reference.sample_rate)
    return figures | {"frechet_distance": frechet_distance(reference.embed, *halves)}


def beside_seed(song: np.ndarray, seed: Seed, rate: int) -> Figures:
    """Returns the figures of a song beside its seed."""
    theirs = rhythm_pattern(seed.samples, rate, seed.beat_seconds)
    ours = rhythm_pattern(song, rate, seed.beat_seconds, start_seconds=len(seed.samples) / rate)
    return {
        "own_rhythm": rhythm_similarity(ours, theirs),
        "seed_copy_score": copy_score(song, seed.samples, rate).score,
        "seed_copy_score_spectrum": copy_score(song, seed.samples, rate, on="spectrum").score,
    }


def other_rhythm(reference: Reference, seed: Seed) -> float:
    """Returns the mean similarity of the reference's rhythm and the seed's, with the bars turned as it fits best."""
    rate = reference.sample_rate
    own = rhythm_pattern(seed.samples, rate, seed.beat_seconds)
    long = [piece for piece in reference.pieces if len(piece) >= _bar(seed, rate)]
    patterns = [rhythm_pattern(piece, rate, seed.beat_seconds) for piece in long or [np.concatenate(reference.pieces)]]
    return float(np.mean([rhythm_similarity(pattern, own, shift=STEPS // 2) for pattern in patterns]))


def looped(seed: Seed, size: int, rate: int) -> np.ndarray:
    """Returns the last bar of a seed, repeated for `size` samples."""
    return np.resize(seed.samples[-_bar(seed, rate) :], size)


def as_seed(samples: object, rate: int, beat_seconds: float | None) -> Seed:
    """Returns a seed with its beat, which is found if it is not given; raises if it is shorter than a bar."""
    opening = _checks.mono("seed", samples)
    seed = Seed(opening, found_beat(opening, rate, beat_seconds))
    if len(opening) < _bar(seed, rate):
        raise ValueError(
            f"The seed must have a bar of {BEATS} beats: beat_seconds={seed.beat_seconds:g} needs "
            f"{_bar(seed, rate)} samples. Received: {len(opening)}. Use a longer seed."
        )
    return seed


def _bar(seed: Seed, rate: int) -> int:
    return math.ceil(BEATS * seed.beat_seconds * rate)
