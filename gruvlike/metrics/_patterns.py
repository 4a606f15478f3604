"""Rhythm: which onsets return in every bar, and are they those of another sound?"""

import numpy as np

from gruvlike import _checks

BEATS, STEPS = 4, 32  # a bar has so many of each
_BANDS = 4
_MELS = 64
_HOP_SECONDS = 0.008
_OFFSET = 1e-6  # power; lower levels are about equal
_RANGE_DB = 60.0


def rhythm_pattern(
    samples: np.ndarray, sample_rate: int, beat_seconds: float | None = None, start_seconds: float = 0.0
) -> np.ndarray:
    """Mean strength of the onsets at each step of a bar, in four bands of frequency.

    Onsets are the rises of the log-mel spectrum (frames of 64 ms, 8 ms apart, up to 64 bands, a range of 60 dB),
    averaged over a quarter of the bands each. They are folded over a bar of four beats in 32 steps.

    **The own rhythm** of a song is the `rhythm_similarity` of its pattern and that of its seed. The song begins in the
    middle of a bar of the seed: `start_seconds` is then the length of the seed. **The nearest seed** of a song is the
    one, among those of all tracks, that has the most similar pattern; its track should be that of the song's own seed.

    Args:
        samples: Samples of shape (S,), at least a bar.
        sample_rate: Samples per second.
        beat_seconds: Seconds from a beat to the next. Default: those that `gruvlike.rhythm.tempo` finds in the samples.
            Sounds that are compared need one and the same.
        start_seconds: Place of the first sample, in seconds after the begin of a bar.

    Returns:
        Float64 array of shape (4, 32), in dB a frame, 0 or more: the lowest band comes first. Zeros for silence.

    Raises:
        ValueError: If the samples are not mono and finite or shorter than a bar, or an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=32_000)
        >>> clicks = noise * (np.arange(-250, 31_750) % 2000 < 100)
        >>> pattern = metrics.rhythm_pattern(clicks, 4000, beat_seconds=0.5)
        >>> pattern.shape, pattern.sum(axis=0).reshape(4, 8).argmax(axis=1)
        ((4, 32), array([0, 0, 0, 0]))

    References:
        J. Paulus, A. Klapuri, "Measuring the similarity of rhythmic patterns", ISMIR 2002.
    """
    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate, minimum=500)
    start_seconds = _checks.number("start_seconds", start_seconds)
    beat_seconds = found_beat(samples, sample_rate, beat_seconds)
    bar_seconds = BEATS * beat_seconds
    if len(samples) < bar_seconds * sample_rate:
        raise ValueError(
            f"A pattern takes a bar of {BEATS} beats: beat_seconds={beat_seconds:g} needs {bar_seconds:g} s. "
            f"Received: {len(samples) / sample_rate:g} s. Use a longer sound."
        )
    onsets, hop = _onsets(samples, sample_rate)
    places = (np.arange(onsets.shape[1]) * hop / sample_rate + start_seconds) / bar_seconds
    steps = np.floor(places * STEPS).astype(int) % STEPS
    counts = np.maximum(np.bincount(steps, minlength=STEPS), 1)
    return np.stack([np.bincount(steps, band, STEPS) / counts for band in onsets])


def rhythm_similarity(pattern: np.ndarray, other: np.ndarray, shift: int = 1) -> float:
    """Correlation of two patterns of `rhythm_pattern`, after the mean of each band is subtracted.

    Args:
        pattern: Array of shape (bands, steps).
        other: Another one, made with the same `beat_seconds` at the same sample rate, which decides on the bands.
        shift: By how many steps one of them may be turned, at most. The best of all turns counts. 1 allows for a small
            error of the beat. 16, half a bar, finds the best of all alignments, and gives unrelated music more.

    Returns:
        A number in [-1, 1]: 1 for equal rhythms, about 0 for unrelated ones, 0 if one has no onsets. A song and its own
        seed have about 0.9 if both are real music; songs of other tracks 0.3, because a drum on each beat is common.

    Raises:
        ValueError: If the patterns are not finite, two-dimensional and of one shape, or `shift` is negative.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> drums = np.zeros((4, 32))
        >>> drums[0, ::8] = 1
        >>> round(metrics.rhythm_similarity(drums, np.roll(3 * drums, 1, axis=1)), 6)
        1.0

    References:
        See `rhythm_pattern`.
    """
    shift = _checks.positive_int("shift", shift, minimum=0)
    first, second = (np.asarray(each, np.float64) for each in (pattern, other))
    if first.ndim != 2 or first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(
            f"Patterns must be finite arrays (bands, steps) of one shape. Received: shapes {first.shape} and "
            f"{second.shape}. Make both with `rhythm_pattern`."
        )
    first, second = (each - each.mean(axis=1, keepdims=True) for each in (first, second))
    size = np.linalg.norm(first) * np.linalg.norm(second)
    if size <= 0:
        return 0.0
    turns = (np.roll(second, turn, axis=1) for turn in range(-shift, shift + 1))
    return float(np.clip(max(np.vdot(first, turned) for turned in turns) / size, -1, 1))


def found_beat(samples: np.ndarray, sample_rate: int, beat_seconds: float | None) -> float:
    """Returns the seconds of a beat: those that were given, or those that are found in the samples."""
    if beat_seconds is None:
        from gruvlike.rhythm import tempo  # imported here because most measures need no beat

        return tempo(samples, sample_rate).beat_seconds
    return _checks.number("beat_seconds", beat_seconds, 0.1, 10)


def _onsets(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """Returns the onset strengths of four bands, (4, T), and the samples from frame to frame."""
    import librosa.feature  # imported here because it takes 1 s and other measures do not need it

    hop = max(round(_HOP_SECONDS * sample_rate), 1)
    levels = librosa.power_to_db(
        librosa.feature.melspectrogram(
            y=samples, sr=sample_rate, n_fft=8 * hop, hop_length=hop, n_mels=min(_MELS, 4 * hop)
        )
        + _OFFSET
    )
    levels = np.maximum(levels, levels.max() - _RANGE_DB)
    rises = np.maximum(np.diff(levels, axis=1, prepend=levels[:, :1]), 0)
    return rises.reshape(_BANDS, -1, rises.shape[1]).mean(axis=1), hop
