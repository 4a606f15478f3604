"""Seeds made of music, of noise, or of nothing: openings that a song goes on from.

All functions return mono float32 samples of shape (S,), never beyond full scale. Sounds that go in are samples, tracks
of a corpus, or paths of sound files. Tracks and files have a rate of their own: they are resampled where it is another
one than `sample_rate`, and a log message says so. Where sounds meet they are brought to one loudness: that of EBU R 128
where the rate is known, else the level (RMS). Keras is not imported.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Track

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus

logger = logging.getLogger(__name__)

Sound = np.ndarray | Track | str | os.PathLike

# The power of noise at a frequency f is proportional to f to the power of minus these numbers.
_COLORS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "blue": -1.0, "violet": -2.0}
_MOST_SEMITONES = 24.0
_MOST_FACTOR = 4.0
_FRAME_SECONDS = 0.1  # frames of the phase vocoder have about so many
_USUAL_FRAME = 2048  # samples, where the rate is not known


def copy(corpus: "Corpus", seconds: float, random_seed: int = 0) -> np.ndarray:
    """Copies a random excerpt of a corpus, from one track: every position at which it fits is equally likely.

    Args:
        corpus: A `Corpus`, or a part of one.
        seconds: Length of the excerpt.
        random_seed: An integer; the same one gives the same excerpt.

    Returns:
        Float32 samples of shape (round(seconds * corpus.sample_rate),).

    Raises:
        ValueError: If no track is long enough, or an argument is out of range.
        TypeError: If `corpus` is none.

    Example:
        >>> import gruvlike as gl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), 8000)
        ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
        ...     gl.seeds.copy(corpus, seconds=1.5, random_seed=7).shape
        (12000,)
    """
    from gruvlike.corpus import Corpus

    if not isinstance(corpus, Corpus):
        raise TypeError(f"`corpus` must be a Corpus. Received: {type(corpus).__name__}. Make one by `Corpus.build`.")
    return corpus.excerpt(seconds, random_seed)


def mix(
    seeds: Sequence[Sound], weights: Sequence[float] | None = None, *, sample_rate: int | None = None
) -> np.ndarray:
    """Adds sounds, each with a weight, after they are brought to one loudness.

    That loudness is the weighted mean, in dB, of those of the sounds: where one weight is 1 and the others are 0, the
    mix is that sound itself. Sounds of unlike lengths are aligned at their ends: the leading samples of the longer ones
    are dropped. A silent sound adds silence.

    Args:
        seeds: Sounds.
        weights: A number for each, at least 0; they are divided by their sum. `None`: equal ones.
        sample_rate: In Hz. `None`: that of the first track among the sounds, if there is one.

    Returns:
        Float32 samples, as many as the shortest sound has.

    Raises:
        ValueError: If there is no sound, a sound is not mono and finite, weights are negative, sum to 0 or are not as
            many as the sounds, or a file comes without a rate.
        OSError: If a file cannot be read.

    Example:
        >>> import gruvlike as gl
        >>> tune, noise = gl.tune.compose(2, 8000), gl.seeds.noise(1, sample_rate=8000)
        >>> gl.seeds.mix([tune, noise], weights=[0.8, 0.2], sample_rate=8000).shape
        (8000,)
    """
    sounds, rate = _sounds(seeds, sample_rate)
    shares = _checks.shares("weights", weights, len(sounds))
    size = min(map(len, sounds))
    leveled = _leveled([sound[-size:] for sound in sounds], shares, rate)
    parts = [np.float32(share) * sound for share, sound in zip(shares, leveled, strict=True) if share]
    return _within(np.sum(parts, axis=0))


def splice(seeds: Sequence[Sound], fade_seconds: float = 0.02, *, sample_rate: int | None = None) -> np.ndarray:
    """Puts sounds one after the other, with a crossfade of equal power from each to the next, at one loudness.

    That loudness is the mean, in dB, of those of the sounds that are not silent.

    Args:
        seeds: Sounds, first to last.
        fade_seconds: Length of each crossfade; 0 cuts.
        sample_rate: In Hz. `None`: that of the first track among the sounds.

    Returns:
        Float32 samples: as many as all sounds have together, less the crossfades.

    Raises:
        ValueError: If a sound is shorter than its crossfades, or is not mono and finite, the rate is not known, or an
            argument is out of range.
        OSError: If a file cannot be read.

    Example:
        >>> import gruvlike as gl
        >>> first, second = gl.tune.compose(2, 8000), gl.tune.compose(1, 8000, random_seed=1)
        >>> gl.seeds.splice([first, second], fade_seconds=0.1, sample_rate=8000).shape
        (23200,)
    """
    sounds, rate = _sounds(seeds, sample_rate)
    if rate is None:
        raise _no_rate("a crossfade in seconds")
    fade = round(_checks.number("fade_seconds", fade_seconds, 0) * rate)
    for number, sound in enumerate(sounds):
        fades = (number > 0) + (number < len(sounds) - 1)
        if len(sound) < fades * fade:
            raise ValueError(
                f"A sound must be at least as long as its crossfades: {fades} of {fade_seconds:g} s. Received: sound "
                f"{number} has {len(sound) / rate:.3g} s. Use a longer one, or a shorter `fade_seconds`."
            )
    first, *others = _leveled(sounds, _checks.shares("weights", None, len(sounds)), rate)
    for other in others:
        first = crossfade(first, other, fade)
    return _within(first)


def noise(
    seconds: float, color: str = "white", *, sample_rate: int, level_db: float = -20.0, random_seed: int = 0
) -> np.ndarray:
    """Makes noise with a spectrum of a color.

    Args:
        seconds: Length.
        color: "white" has equal power at all frequencies. The power of "pink" falls by 3 dB an octave, as that of much
            music does, that of "brown" by 6 dB; that of "blue" and "violet" rises as much.
        sample_rate: In Hz.
        level_db: RMS, in dB of full scale. It is less where a sample would be beyond full scale.
        random_seed: An integer; the same one gives the same noise.

    Returns:
        Float32 samples of shape (round(seconds * sample_rate),).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gruvlike as gl
        >>> hiss = gl.seeds.noise(1, color="pink", sample_rate=8000, level_db=-30)
        >>> hiss.shape, round(20 * float(np.log10(hiss.std())))
        ((8000,), -30)
    """
    size = _size(seconds, sample_rate)
    exponent = _COLORS[_checks.choice("color", color, tuple(_COLORS))]
    level = 10 ** (_checks.number("level_db", level_db, -120, 0) / 20)
    random = np.random.default_rng(_checks.positive_int("random_seed", random_seed, minimum=0))
    spectrum = np.fft.rfft(random.standard_normal(max(size, 2)))
    number = np.arange(len(spectrum), dtype=float)
    spectrum[1:] *= number[1:] ** (-exponent / 2)
    spectrum[0] = 0.0  # noise has no constant offset
    samples = np.fft.irfft(spectrum, max(size, 2))[:size]
    rms = float(np.sqrt(np.mean(np.square(samples))))
    return _within((samples * (level / max(rms, 1e-12))).astype("float32"))


def silence(seconds: float, *, sample_rate: int) -> np.ndarray:
    """Makes silence: what does a network sing that has read nothing?

    Args:
        seconds: Length.
        sample_rate: In Hz.

    Returns:
        Float32 zeros of shape (round(seconds * sample_rate),).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gruvlike as gl
        >>> gl.seeds.silence(0.5, sample_rate=8000).shape
        (4000,)
    """
    return np.zeros(_size(seconds, sample_rate), np.float32)


def reverse(seed: Sound, *, sample_rate: int | None = None) -> np.ndarray:
    """Turns a sound around in time.

    Args:
        seed: A sound.
        sample_rate: In Hz; needed for a file alone. `None`: that of the track.

    Returns:
        Float32 samples, as many.

    Raises:
        ValueError: If the sound is not mono and finite, or a file comes without a rate.
        OSError: If a file cannot be read.

    Example:
        >>> import gruvlike as gl
        >>> gl.seeds.reverse(np.array([0.1, 0.2, 0.3], "float32"))
        array([0.3, 0.2, 0.1], dtype=float32)
    """
    (sound,), _ = _sounds([seed], sample_rate)
    return sound[::-1].copy()


def transpose(seed: Sound, semitones: float, *, sample_rate: int | None = None) -> np.ndarray:
    """Moves a sound up or down in pitch, at the same tempo and loudness, by the phase vocoder of librosa.

    Attacks are smeared by some hundredths of a second.

    Args:
        seed: A sound, of a tenth of a second or longer.
        semitones: How far up, in [-24, 24]; 12 is an octave, negative numbers go down. 0 changes nothing.
        sample_rate: In Hz. `None`: that of the track; samples do without one.

    Returns:
        Float32 samples, as many.

    Raises:
        ValueError: If the sound is too short or not mono and finite, `semitones` is out of range, or a file comes
            without a rate.
        OSError: If a file cannot be read.

    Example:
        >>> import gruvlike as gl
        >>> gl.seeds.transpose(gl.tune.compose(2, 8000), semitones=-2, sample_rate=8000).shape
        (16000,)

    References:
        J. Laroche, M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE Trans. Speech and Audio
        Processing 7, 1999. B. McFee et al., "librosa: Audio and music signal analysis in Python", SciPy 2015.
    """
    (sound,), rate = _sounds([seed], sample_rate)
    if not _checks.number("semitones", semitones, -_MOST_SEMITONES, _MOST_SEMITONES):
        return sound.copy()
    from librosa import effects  # imported here because it takes 1 s

    # The ratio of pitches is all that counts, so any rate will do where none is known.
    moved = effects.pitch_shift(sound, sr=rate or 48_000, n_steps=semitones, n_fft=_frame_size(sound, rate))
    return _as_loud(moved, sound, rate)


def stretch(seed: Sound, factor: float, *, sample_rate: int | None = None) -> np.ndarray:
    """Makes a sound longer or shorter, at the same pitch and loudness, by the phase vocoder of librosa.

    Args:
        seed: A sound, of a tenth of a second or longer.
        factor: By how much, in [0.25, 4]: 2 lasts twice as long, at half the tempo. 1 changes nothing.
        sample_rate: In Hz. `None`: that of the track; samples do without one.

    Returns:
        Float32 samples, about `factor` times as many.

    Raises:
        ValueError: If the sound is too short or not mono and finite, `factor` is out of range, or a file comes without
            a rate.
        OSError: If a file cannot be read.

    Example:
        >>> import gruvlike as gl
        >>> gl.seeds.stretch(gl.tune.compose(2, 8000), factor=1.5, sample_rate=8000).shape
        (24000,)

    References:
        J. Laroche, M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE Trans. Speech and Audio
        Processing 7, 1999.
    """
    (sound,), rate = _sounds([seed], sample_rate)
    if _checks.number("factor", factor, 1 / _MOST_FACTOR, _MOST_FACTOR) == 1:
        return sound.copy()
    from librosa import effects  # imported here because it takes 1 s

    stretched = effects.time_stretch(sound, rate=1 / factor, n_fft=_frame_size(sound, rate))
    return _as_loud(stretched, sound, rate)


def crossfade(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """Joins two sounds by a crossfade: the end of the first and the begin of the second sound together.

    The crossfade has equal power, which suits unlike sounds; where a sample would be beyond full scale it is linear.

    Args:
        first: Samples of shape (S1,).
        second: Samples of shape (S2,).
        size: Samples that both sound together, at most as many as either has; 0 cuts.

    Returns:
        Float32 samples of shape (S1 + S2 - size,).

    Raises:
        ValueError: If a sound is not mono and finite, or shorter than the crossfade.

    Example:
        >>> import gruvlike as gl
        >>> gl.seeds.crossfade(np.ones(4), np.zeros(3), size=2).round(2)
        array([1.  , 1.  , 0.92, 0.38, 0.  ], dtype=float32)
    """
    first, second = _checks.mono("first", first), _checks.mono("second", second)
    size = _checks.positive_int("size", size, minimum=0)
    if size > min(len(first), len(second)):
        raise ValueError(
            f"A crossfade must fit into both sounds. Received: size={size}, {len(first)} and {len(second)} samples. "
            "Use a shorter crossfade, or longer sounds."
        )
    place = ((np.arange(size) + 0.5) / max(size, 1)).astype("float32")
    end = len(first) - size
    both = first[end:] * np.cos(place * np.pi / 2) + second[:size] * np.sin(place * np.pi / 2)
    if np.abs(both).max(initial=0) > 1:
        both = first[end:] * (1 - place) + second[:size] * place
    return np.concatenate([first[:end], both, second[size:]])


def _sounds(seeds: Sequence[Sound], sample_rate: int | None) -> tuple[list[np.ndarray], int | None]:
    """Returns the samples of sounds at one rate, and that rate where it is known."""
    if isinstance(seeds, str | os.PathLike | Track) or not len(seeds):
        raise ValueError(f"Give one or more sounds, in a list. Received: {seeds!r}.")
    rate = None if sample_rate is None else _checks.positive_int("sample_rate", sample_rate)
    if rate is None:
        rate = next((one.sample_rate for one in seeds if isinstance(one, Track)), None)
    return [_samples(f"seeds[{number}]", one, rate) for number, one in enumerate(seeds)], rate


def _samples(name: str, sound: Sound, rate: int | None) -> np.ndarray:
    if isinstance(sound, str | os.PathLike):
        if rate is None:
            raise _no_rate(os.fspath(sound))
        return _read(sound, rate)
    if not isinstance(sound, Track):
        return _checks.mono(name, sound)
    samples = _checks.mono(name, sound.pcm)
    if rate is None or rate == sound.sample_rate:
        return samples
    import soxr

    logger.warning("%r is resampled from %d to %d Hz.", sound.name, sound.sample_rate, rate)
    return np.clip(soxr.resample(samples, sound.sample_rate, rate), -1, 1)


def _read(path: str | os.PathLike, rate: int, high_pass_hz: float | None = None) -> np.ndarray:
    """Returns the samples of a sound file, and says so if they are resampled."""
    from gruvlike import audio
    from gruvlike.audio import _readers

    samples = audio.read(path, rate, high_pass_hz=high_pass_hz)
    own = next(_readers.chunks(Path(path))).rate
    if own != rate:
        logger.warning("%r is resampled from %d to %d Hz.", os.fspath(path), own, rate)
    return samples


def _no_rate(what: str) -> ValueError:
    return ValueError(f"`sample_rate` must be given for {what}. Received: sample_rate=None.")


def _size(seconds: float, sample_rate: int) -> int:
    rate = _checks.positive_int("sample_rate", sample_rate)
    return max(1, round(_checks.number("seconds", seconds, 0, open_low=True) * rate))


def _leveled(sounds: Sequence[np.ndarray], shares: Sequence[float], rate: int | None) -> list[np.ndarray]:
    """Returns sounds brought to the mean of their loudness, weighted by their shares; silent ones as they are."""
    from gruvlike.audio._loudness import level_db

    levels = [level_db(sound, rate) for sound in sounds]
    audible = [(share, level) for share, level in zip(shares, levels, strict=True) if share and level > -np.inf]
    if not audible:
        return list(sounds)
    wanted = sum(share * level for share, level in audible) / sum(share for share, _ in audible)
    pairs = zip(sounds, levels, strict=True)
    return [sound if level == -np.inf else sound * np.float32(10 ** ((wanted - level) / 20)) for sound, level in pairs]


def _within(samples: np.ndarray) -> np.ndarray:
    """Returns samples scaled down, if need be, so that none is beyond full scale."""
    peak = float(np.abs(samples).max(initial=0))
    return samples if peak <= 1 else np.clip(samples / np.float32(peak), -1, 1)


def _as_loud(samples: np.ndarray, like: np.ndarray, rate: int | None) -> np.ndarray:
    from gruvlike import audio

    return audio.match_level(samples, like, rate)


def _frame_size(sound: np.ndarray, rate: int | None) -> int:
    """Returns the samples of a frame of the phase vocoder, a power of two."""
    size = _USUAL_FRAME if rate is None else 2 ** round(np.log2(max(_FRAME_SECONDS * rate, 16)))
    if len(sound) < size:
        raise ValueError(
            f"A sound must have at least a frame of the phase vocoder, {size} samples. Received: {len(sound)} samples. "
            "Use a longer one."
        )
    return size
