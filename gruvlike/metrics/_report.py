"""All measures at once, as one dictionary and one table."""

import functools
import os
from pathlib import Path

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import AnyMusic
from gruvlike._music import Sound, sample_rate_of, tracks
from gruvlike.metrics._copies import CopyMatch, copy_score
from gruvlike.metrics._frechet import frechet_distance, log_mel_statistics
from gruvlike.metrics._levels import energy_curve, energy_drift_db
from gruvlike.metrics._repetition import repetition
from gruvlike.metrics._spectra import flatness_excess_db, log_spectral_distance, spectral_convergence, spectral_flatness
from gruvlike.metrics._ticks import tick_level_db, tick_ratio

_REFERENCE_SECONDS = 120
_LEAST_SECONDS = 4
_LEAST_BLOCKS = 4
_CORPUS_SUFFIXES = (".h5", ".hdf5")
# Each measure, and its value for a song without fault.
_ROWS = (
    ("tick_ratio", "1: no tick"),
    ("tick_level_db", "0: no tick"),
    ("tick_excess_db", "0: no more than the reference"),
    ("level_db", "as the reference"),
    ("energy_drift_db", "0: ends as loud as the reference"),
    ("spectral_convergence", "0: the same average spectrum"),
    ("log_spectral_distance", "0: the same average spectrum, dB"),
    ("spectral_flatness", "as the reference; 0.56: white noise"),
    ("flatness_excess_db", "0: no noisier than the reference"),
    ("copy_score", "1: a verbatim copy of some second"),
    ("repetition", "as the reference; 1: a loop"),
    ("frechet_distance", "as the reference's halves"),
)


class Report(dict[str, float]):
    """The result of `report`: figures by name. Names that end in `_reference` belong to the reference.

    `print` shows a table.

    Attributes:
        closest: The second of the song that is most similar to the reference, a `CopyMatch`.
    """

    def __init__(self, figures: dict[str, float], closest: CopyMatch):
        super().__init__(figures)
        self.closest = closest

    def __str__(self) -> str:
        lines = [f"{'measure':<22}{'song':>10}{'reference':>11}   nothing is wrong at"]
        for name, ideal in _ROWS:
            own = self.get(f"{name}_reference")
            lines.append(f"{name:<22}{self[name]:>10.3f}{'' if own is None else f'{own:.3f}':>11}   {ideal}")
        start, score, track, seconds = self.closest
        if track is not None:
            lines.append(f"closest copy: song at {start:.2f} s, {track!r} at {seconds:.2f} s ({score:.3f})")
        return "\n".join(lines)


def report(
    song: np.ndarray | str | os.PathLike,
    reference: AnyMusic | str | os.PathLike,
    hop: int,
    sample_rate: int | None = None,
) -> Report:
    """Computes all measures of a song, compared with reference music.

    Copies are searched for in the whole reference. The other measures use up to two minutes of it, in pieces as long as
    the song. `docs/metrics.md` explains the figures.

    Args:
        song: Samples of shape (S,), or an audio file, at least 4 seconds and 4 blocks long.
        reference: The music that the song should sound like: a `Corpus`, a corpus file (.h5), a folder of audio, an
            audio file, samples, or a sequence of (name, samples), at least 4 seconds and 4 blocks long.
        hop: Samples from one block of the song to the next, at least 16.
        sample_rate: Samples per second. `None` takes that of the corpus, or else that of the song's file. Files are
            resampled to it.

    Returns:
        A `Report`, a dictionary of floats with an entry for each measure; `print` shows a table. Names that end in
        `_reference` are the same measures of the reference; `frechet_distance_reference` compares two halves of it.

    Raises:
        ValueError: If song or reference is too short or no samples, or the sample rate is unknown or differs.
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
    pieces = _pieces(sounds, len(samples), rate, hop)
    for name, parts in (("song", [samples]), ("reference", pieces)):
        found, least = sum(map(len, parts)), max(_LEAST_SECONDS * rate, _LEAST_BLOCKS * hop)
        if found < least:
            raise ValueError(
                f"A report takes {_LEAST_SECONDS} s and {_LEAST_BLOCKS} blocks (hop={hop}) of the {name}: {least} "
                f"samples. Received: {found}. Use more sound, or single measures."
            )
    copies = copy_score(samples, sounds, rate)
    figures = _alone([samples], hop, rate)
    figures |= {f"{name}_reference": value for name, value in _alone(pieces, hop, rate).items()}
    figures |= _likeness(samples, pieces, rate)
    figures["copy_score"] = copies.score
    figures["tick_excess_db"] = figures["tick_level_db"] - figures["tick_level_db_reference"]
    return Report({name: float(value) for name, value in figures.items()}, copies.closest)


def _alone(pieces: list[np.ndarray], hop: int, rate: int) -> dict[str, float]:
    sound = np.concatenate(pieces)
    loops = [repetition(piece, rate) for piece in pieces if len(piece) >= 2 * rate]
    return {
        "tick_ratio": tick_ratio(sound, hop),
        "tick_level_db": tick_level_db(sound, hop),
        "level_db": energy_curve(sound, len(sound))[0],
        "spectral_flatness": spectral_flatness(sound),
        "repetition": float(np.mean(loops)) if loops else 0.0,
    }


def _likeness(song: np.ndarray, pieces: list[np.ndarray], rate: int) -> dict[str, float]:
    music = np.concatenate(pieces)
    halves = (pieces[::2], pieces[1::2]) if len(pieces) > 1 else (music[: len(music) // 2], music[len(music) // 2 :])
    embed = functools.partial(log_mel_statistics, sample_rate=rate)
    return {
        "energy_drift_db": energy_drift_db(song, music),
        "spectral_convergence": spectral_convergence(song, music, aligned=False),
        "log_spectral_distance": log_spectral_distance(song, music, aligned=False),
        "flatness_excess_db": flatness_excess_db(song, music),
        "frechet_distance": frechet_distance(embed, music, song),
        "frechet_distance_reference": frechet_distance(embed, *halves),
    }


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

    with open(path, "rb") as file:  # raises FileNotFoundError for a missing file
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
    size = min(max(size, _LEAST_SECONDS * rate), _REFERENCE_SECONDS * rate)
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
