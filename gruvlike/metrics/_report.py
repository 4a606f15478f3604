"""All measures at once, as one dictionary and one table."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import AnyMusic
from gruvlike._music import Sound, sample_rate_of, tracks
from gruvlike.metrics._copies import CopyMatch
from gruvlike.metrics._figures import (
    LEAST_SECONDS,
    Figures,
    Reference,
    Seed,
    as_seed,
    beside_seed,
    compared,
    looped,
    of_reference,
    other_rhythm,
)
from gruvlike.metrics._frechet import log_mel_statistics

_REFERENCE_SECONDS = 120
_LEAST_BLOCKS = 4
_CORPUS_SUFFIXES = (".h5", ".hdf5")
# Each measure has a value for a song without fault.
ROWS = (
    ("tick_ratio", "1: no tick"),
    ("tick_level_db", "0: no tick"),
    ("tick_excess_db", "0: no more than the reference"),
    ("level_db", "as the reference"),
    ("energy_drift_db", "0: ends as loud as the reference"),
    ("spectral_convergence", "0: the same average spectrum"),
    ("log_spectral_distance", "0: the same average spectrum, dB"),
    ("spectral_flatness", "as the reference; 0.56: white noise"),
    ("flatness_excess_db", "0: no noisier than the reference"),
    ("flux", "as the reference; 0: frozen"),
    ("pulse", "as the reference; 0.1: no beat"),
    ("onset_rate", "as the reference"),
    ("own_rhythm", "1: the rhythm of the seed"),
    ("copy_score", "1: a verbatim copy of some second"),
    ("copy_score_spectrum", "1: a copy, perhaps with other phases"),
    ("seed_copy_score", "1: a verbatim copy of the seed"),
    ("seed_copy_score_spectrum", "1: a copy, perhaps with other phases"),
    ("repetition", "as the reference; 1: a loop"),
    ("frechet_distance", "as the reference's halves"),
)
_CONTROLS = ("reference", "seed", "loop")


class Report(dict[str, float]):
    """The result of `report`: figures by name.

    Names that end in `_reference`, `_seed` or `_loop` belong to the reference, to the seed, and to the last bar of the
    seed, repeated. `print` shows a table.

    Attributes:
        closest: The second of the song that is most similar to the reference, a `CopyMatch`.
    """

    def __init__(self, figures: dict[str, float], closest: CopyMatch):
        super().__init__(figures)
        self.closest = closest

    def __str__(self) -> str:
        controls = [each for each in _CONTROLS if any(name.endswith(f"_{each}") for name in self)]
        width = max(len(name) for name, _ in ROWS if name in self) + 1
        heads = "".join(f"{each:>11}" for each in ("song", *controls))
        lines = [f"{'measure':<{width}}{heads}   nothing is wrong at"]
        for name, ideal in ROWS:
            if name in self:
                values = [self.get(key) for key in (name, *(f"{name}_{each}" for each in controls))]
                cells = "".join(f"{'' if value is None else f'{value:.3f}':>11}" for value in values)
                lines.append(f"{name:<{width}}{cells}   {ideal}")
        start, score, track, seconds = self.closest
        if track is not None:
            lines.append(f"closest copy: song at {start:.2f} s, {track!r} at {seconds:.2f} s ({score:.3f})")
        return "\n".join(lines)


def report(
    song: np.ndarray | str | os.PathLike,
    reference: AnyMusic | str | os.PathLike,
    hop: int,
    sample_rate: int | None = None,
    *,
    seed: np.ndarray | str | os.PathLike | None = None,
    beat_seconds: float | None = None,
    embed: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Report:
    """Computes all measures of a song, compared with reference music and with controls.

    Copies are searched for in the whole reference. The other measures use up to two minutes of it, in pieces as long as
    the song. With the seed of the song, the rhythm and copies of the seed are measured, and there are two controls: the
    seed itself, and its last bar repeated for as long as the song. `docs/metrics.md` explains the figures.

    Args:
        song: Samples of shape (S,), or an audio file, at least 4 seconds and 4 blocks long. It does not include its
            seed.
        reference: The music that the song should sound like: a `Corpus`, a corpus file (.h5), a folder of audio, an
            audio file, samples, or a sequence of (name, samples), at least 4 seconds and 4 blocks long.
        hop: Samples from one block of the song to the next, at least 16.
        sample_rate: Samples per second. `None` takes that of the corpus, or else that of the song's file. Files are
            resampled to it.
        seed: Samples, or an audio file, that the song goes on from, at least 4 seconds, 4 blocks and a bar long.
        beat_seconds: Seconds from a beat of the seed to the next. Default: those that `gruvlike.rhythm.tempo` finds.
        embed: Function from samples (S,) to vectors (n, d) for `frechet_distance`, such as a network. Default:
            `log_mel_statistics`.

    Returns:
        A `Report`, a dictionary of floats with an entry for each measure; `print` shows a table. Names that end in
        `_reference` are the same measures of the reference; `frechet_distance_reference` compares two halves of it.
        Names that end in `_seed` and `_loop` belong to the controls.

    Raises:
        ValueError: If song, seed or reference is too short or no samples, or the sample rate is unknown or differs.
        FileNotFoundError: If a file or folder does not exist, or a folder holds no audio.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> music = np.sin(np.arange(80_000) ** 1.2 / 20)
        >>> found = metrics.report(music[8000:40_000], music, hop=500, sample_rate=8000)
        >>> round(found["copy_score"], 3), round(found["tick_ratio"], 1)
        (1.0, 1.0)
    """
    hop = _checks.positive_int("hop", hop, minimum=16)
    samples, sounds, rate = _opened(song, reference, sample_rate)
    music = reference_for(len(samples), sounds, hop, rate, embed)
    opening = None if seed is None else _seed(seed, hop, rate, beat_seconds)
    figures, copies = compared(samples, music)
    figures |= _named("reference", of_reference(music))
    if opening is not None:
        loop = looped(opening, len(samples), rate)
        figures |= beside_seed(samples, opening, rate) | {"own_rhythm_reference": other_rhythm(music, opening)}
        figures |= _named("seed", compared(opening.samples, music)[0])
        figures |= _named("loop", compared(loop, music)[0] | beside_seed(loop, opening, rate))
    return Report({name: float(value) for name, value in figures.items()}, copies.closest)


def reference_for(
    size: int,
    sounds: list[Sound],
    hop: int,
    sample_rate: int,
    embed: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Reference:
    """Returns the music that a song of `size` samples is compared with; raises if either is too short."""
    embed = functools.partial(log_mel_statistics, sample_rate=sample_rate) if embed is None else embed
    music = Reference(sounds, _pieces(sounds, size, sample_rate, hop), hop, sample_rate, embed)
    _check_size("song", size, hop, sample_rate)
    _check_size("reference", sum(map(len, music.pieces)), hop, sample_rate)
    return music


def _named(control: str, figures: Figures) -> Figures:
    return {f"{name}_{control}": value for name, value in figures.items()}


def _seed(seed: np.ndarray | str | os.PathLike, hop: int, rate: int, beat_seconds: float | None) -> Seed:
    samples = _read(seed, rate) if isinstance(seed, str | os.PathLike) else seed
    found = as_seed(samples, rate, beat_seconds)
    _check_size("seed", len(found.samples), hop, rate)
    return found


def _check_size(name: str, size: int, hop: int, rate: int) -> None:
    least = max(LEAST_SECONDS * rate, _LEAST_BLOCKS * hop)
    if size < least:
        raise ValueError(
            f"A report takes {LEAST_SECONDS} s and {_LEAST_BLOCKS} blocks (hop={hop}) of the {name}: {least} "
            f"samples. Received: {size}. Use more sound, or single measures."
        )


def _opened(
    song: np.ndarray | str | os.PathLike, reference: AnyMusic | str | os.PathLike, sample_rate: int | None
) -> tuple[np.ndarray, list[Sound], int]:
    """Returns the samples of the song, the tracks of the reference, and the sample rate of both."""
    music = reference
    if isinstance(reference, str | os.PathLike) and Path(reference).suffix in _CORPUS_SUFFIXES:
        from gruvlike.corpus import Corpus  # imported here because the measures themselves read no files

        music = Corpus(reference)
    own = None if isinstance(music, str | os.PathLike) else sample_rate_of(music)
    if own is None and sample_rate is None and isinstance(song, str | os.PathLike):
        own = _file_rate(song)
    rate = _sample_rate(own, sample_rate)
    samples = _checks.mono("song", _read(song, rate) if isinstance(song, str | os.PathLike) else song)
    return samples, _read_all(music, rate) if isinstance(music, str | os.PathLike) else list(tracks(music)), rate


def _sample_rate(own: int | None, sample_rate: int | None) -> int:
    if own is None and sample_rate is None:
        raise ValueError("`sample_rate` must be given for a song of samples. Received: sample_rate=None.")
    rate = _checks.positive_int("sample_rate", own if sample_rate is None else sample_rate, minimum=500)
    if own is not None and own != rate:
        raise ValueError(f"`sample_rate` must be the corpus's {own}. Received: sample_rate={rate}. Leave it out.")
    return rate


def _file_rate(path: str | os.PathLike) -> int:
    import soundfile

    with open(path, "rb") as file:  # `open` raises FileNotFoundError for a missing file
        try:
            return soundfile.SoundFile(file).samplerate
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"`sample_rate` must be given where the file does not tell it. Received: {os.fspath(path)!r}: "
                f"{error.error_string}"
            ) from error


def _read(path: str | os.PathLike, rate: int) -> np.ndarray:
    from gruvlike import audio

    return audio.read(path, rate)


def _read_all(path: str | os.PathLike, rate: int) -> list[Sound]:
    """Returns the sounds of a file or a folder. They are held as 16-bit PCM, 2 bytes a sample."""
    from gruvlike import audio

    path = Path(path)
    paths = audio.find(path) if path.is_dir() else [path]
    if not paths:
        raise FileNotFoundError(f"The reference must be a folder with audio in it. Received: {str(path)!r}.")
    return [Sound(each.name, audio._to_pcm(_read(each, rate))[0]) for each in paths]


def _pieces(sounds: list[Sound], size: int, rate: int, hop: int) -> list[np.ndarray]:
    """Cuts up to two minutes into pieces as long as the song, so that the figures of both can be compared."""
    size = min(max(size, LEAST_SECONDS * rate), _REFERENCE_SECONDS * rate)
    count = _REFERENCE_SECONDS * rate // size
    all_samples = [samples for _, samples in sounds]
    long = [samples for samples in all_samples if len(samples) >= size] or all_samples
    chosen = long[:: -(-len(long) // count)]
    pieces = []
    for samples in chosen:
        spare = max(len(samples) - size, 0)
        share = max(min(count // len(chosen), len(samples) // size), 1)
        for index in range(share):  # a single piece is cut from the middle
            start = spare * (2 * index + 1) // (2 * share) // hop * hop
            pieces.append(_checks.mono("reference", samples[start : start + size]))
    return pieces
