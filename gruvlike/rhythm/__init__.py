"""The beat of music: tempo, place of the downbeat, and how clear both are.

`tempo` finds one beat for a whole sound: music that was made with a fixed tempo. `beats` follows a tempo that moves.
`Corpus.build` finds the beat of each track (`track.beat`). Keras is not imported. `docs/rhythm.md` says how reliable it
is.
"""

import warnings

import numpy as np

from gruvlike import _checks
from gruvlike.rhythm import _beat
from gruvlike.rhythm._beat import CLEAR, Beat
from gruvlike.rhythm._onsets import onsets
from gruvlike.rhythm._tracker import track

__all__ = ["CLEAR", "Beat", "beats", "tempo"]


def tempo(
    samples: np.ndarray, sample_rate: int, bpm: float | None = None, low: float = _beat.LOW, high: float = _beat.HIGH
) -> Beat:
    """Finds the beat of a sound with a fixed tempo.

    The onset envelope of the sound is correlated with itself. The tempo is the one whose beats, all of them up to 8 s,
    have the highest mean correlation; it is refined by the beats of 3/4 of the sound. The phase is the one with the
    strongest onsets on the beats. The downbeat is the one of four beats with the most bass, which need not be the one
    that a musician counts as the first.

    Args:
        samples: Mono samples (S,), float or int16 PCM, which may be a map of a file.
        sample_rate: Samples per second.
        bpm: Beats per minute, where they are known. Then only phase and confidence are found.
        low: The slowest tempo to consider. A range of an octave holds only one of half, single and double tempo.
        high: The fastest tempo to consider.

    Returns:
        The `Beat`. Its confidence is 0 for silence, below `CLEAR` for sounds without a beat.

    Raises:
        ValueError: If the samples are not mono and finite, or do not hold a bar of four beats at the slowest tempo.

    Warns:
        UserWarning: If a clear tempo lies within 1 % of `low` or `high`: half or double of it may be the true one.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> clicks = np.zeros(80_000)
        >>> clicks[2000::4000] = 1
        >>> beat = gl.rhythm.tempo(clicks, sample_rate=8000)
        >>> round(beat.bpm, 1), round(beat.phase_seconds % beat.beat_seconds, 2), beat.clear
        (120.0, 0.25, True)

    References:
        D. Ellis, "Beat tracking by dynamic programming", Journal of New Music Research 36(1), 2007 (the onset
        envelope).
    """
    samples, sample_rate = _checked(samples, sample_rate)
    low = _beat.check_bpm("low", low)
    high = _checks.number("high", high, low, 400, open_low=True)
    bpm = None if bpm is None else _beat.check_bpm("bpm", bpm)
    least = _beat.least_samples(sample_rate, bpm or low)
    if len(samples) < least:
        raise ValueError(
            f"A bar of four beats must fit into the sound: {least / sample_rate:.2f} s at {bpm or low:g} beats per "
            f"minute. Received: {len(samples) / sample_rate:.2f} s. Use a longer sound or a faster tempo."
        )
    found = _beat.find(samples, sample_rate, bpm, low, high)
    if bpm is None and _beat.at_edge(found, low, high):
        warnings.warn(
            f"The tempo found, {found.bpm:.1f} beats per minute, is at the edge of the range {low:g} to {high:g}: "
            "half or double of it may be the true one. Give `bpm`, or other `low` and `high`.",
            stacklevel=2,
        )
    return found


def beats(samples: np.ndarray, sample_rate: int, bpm: float | None = None) -> np.ndarray:
    """Finds the time of each beat of a sound whose tempo moves, by dynamic programming as in librosa.

    The distance between beats that `tempo` finds is preferred, and departed from where the onsets depart from it.

    Args:
        samples: Mono samples (S,), float or int16 PCM.
        sample_rate: Samples per second.
        bpm: About how many beats per minute there are. `None`: as `tempo` finds them.

    Returns:
        Float64 array of shape (beats,): seconds from the first sample. Empty for silence.

    Raises:
        ValueError: As `tempo`.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> clicks = np.zeros(80_000)
        >>> clicks[2000::4000] = 1
        >>> gl.rhythm.beats(clicks, sample_rate=8000)[:3].round(2)
        array([0.25, 0.75, 1.25])

    References:
        D. Ellis, "Beat tracking by dynamic programming", Journal of New Music Research 36(1), 2007.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the tracker works as well at twice or half the tempo
        beat = tempo(samples, sample_rate, bpm).beat_seconds
    sound = onsets(*_checked(samples, sample_rate))
    if not sound.envelope.any():
        return np.zeros(0)
    return sound.start + track(sound.envelope, beat * sound.rate) / sound.rate


def _checked(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """Returns the samples as they are read in pieces: PCM is not copied, so that it can be a map of a long file."""
    is_pcm = isinstance(samples, np.ndarray) and samples.dtype == np.int16 and samples.ndim == 1 and samples.size
    rate = _checks.positive_int("sample_rate", sample_rate, minimum=_beat.LEAST_RATE)
    return samples if is_pcm else _checks.mono("samples", samples), rate
