"""Measures of sound: ticks, energy, spectra, copies, loops, rhythm, and the distance of two collections of music.

All are pure functions of samples: mono float32 (or int16 PCM) of shape (S,). Each docstring gives the range of the
measure, its value for a song without fault, and its source. No measure says whether the music is good. Each detects one
kind of fault and can be misled; `docs/metrics.md` tells how. `report` computes all of them. Keras is not imported.

===================================================  ==================================================
does it tick at the seams between blocks?            `tick_ratio`, `tick_level_db`, `tick_excess_db`, `tick_profile`
does it fade away or blow up?                        `energy_curve`, `energy_drift_db`
does it have the color of the reference?             `spectral_convergence`, `log_spectral_distance`
is it noise?                                         `spectral_flatness`, `flatness_excess_db`
is it a copy, of what, from where?                   `copy_score`
does it move, or is it frozen?                       `flux`
does it have a beat, and how many onsets?            `pulse`, `onset_rate`
does it keep the rhythm of its seed?                 `rhythm_pattern`, `rhythm_similarity`
is it stuck in a loop?                               `novelty`, `repetition`
which of several songs stays closest to its seed?    `rank_takes`
is it music of the same kind?                        `frechet_distance`, `log_mel_statistics`
===================================================  ==================================================
"""

from gruvlike.metrics._copies import CopyMatch, CopyScore, copy_score
from gruvlike.metrics._frechet import frechet_distance, log_mel_statistics
from gruvlike.metrics._levels import energy_curve, energy_drift_db
from gruvlike.metrics._patterns import rhythm_pattern, rhythm_similarity
from gruvlike.metrics._pulse import onset_rate, pulse
from gruvlike.metrics._ranking import RankedTake, rank_takes
from gruvlike.metrics._repetition import novelty, repetition
from gruvlike.metrics._report import Report, report
from gruvlike.metrics._spectra import (
    flatness_excess_db,
    flux,
    log_spectral_distance,
    spectral_convergence,
    spectral_flatness,
)
from gruvlike.metrics._ticks import tick_excess_db, tick_level_db, tick_profile, tick_ratio

__all__ = [
    "CopyMatch",
    "CopyScore",
    "RankedTake",
    "Report",
    "copy_score",
    "energy_curve",
    "energy_drift_db",
    "flatness_excess_db",
    "flux",
    "frechet_distance",
    "log_mel_statistics",
    "log_spectral_distance",
    "novelty",
    "onset_rate",
    "pulse",
    "rank_takes",
    "repetition",
    "report",
    "rhythm_pattern",
    "rhythm_similarity",
    "spectral_convergence",
    "spectral_flatness",
    "tick_excess_db",
    "tick_level_db",
    "tick_profile",
    "tick_ratio",
]
