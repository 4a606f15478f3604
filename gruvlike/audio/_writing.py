"""The formats that `write` offers, with the rates and sizes that each of them can hold.

libsndfile refuses the others after the file was begun, or not at all: a rate of 384 kHz ends the process in its
Vorbis encoder, and some formats come back as other samples. So the limits stand here and are checked before.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from gruvlike.audio._sndfile import SYSTEM_ERROR

_BLOCK = 1 << 17
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_HEADER = 4096  # bytes: more than any of our headers has


class _Format(NamedTuple):
    """A file format.

    Attributes:
        kind: The name that libsndfile gives it.
        subtypes: The sample formats in it that come back as they were written; the first one is the default.
        most_bytes: The largest size that its header can tell, or `None`.
    """

    kind: str
    subtypes: tuple[str, ...]
    most_bytes: int | None = None


_PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_WAV = _Format("WAV", (*_PCM, "PCM_U8"), 1 << 32)
_AIFF = _Format("AIFF", (*_PCM, "PCM_S8", "PCM_U8"), 1 << 32)
_AU = _Format("AU", (*_PCM, "PCM_S8"), 1 << 32)
_OGG = _Format("OGG", ("VORBIS", "OPUS"))
_FORMATS = {
    **dict.fromkeys((".wav", ".wave"), _WAV),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), _AIFF),
    **dict.fromkeys((".au", ".snd"), _AU),
    **dict.fromkeys((".ogg", ".oga"), _OGG),
    ".opus": _Format("OGG", ("OPUS",)),
    ".mp3": _Format("MP3", ("MPEG_LAYER_III",)),
    ".flac": _Format("FLAC", ("PCM_16", "PCM_24", "PCM_S8")),
    ".caf": _Format("CAF", (*_PCM, "PCM_S8", "ALAC_16", "ALAC_20", "ALAC_24")),
    ".w64": _Format("W64", (*_PCM, "PCM_U8")),
    ".rf64": _Format("RF64", (*_PCM, "PCM_U8")),
}
# The rates that a sample format, or else a file format, can hold.
_RATES: dict[str, tuple[Sequence[int], ...]] = {
    "OPUS": (_OPUS_RATES,),
    "MPEG_LAYER_III": (_MP3_RATES,),
    "VORBIS": (range(1, 200_001),),
    "FLAC": (range(1, 65_536), range(65_540, 655_351, 10)),
}
_RULES = {"VORBIS": "at most 200000", "FLAC": "up to 65535, or a multiple of 10 up to 655350"}


def checked(path: Path, subtype: str | None, sample_rate: int | None, size: int | None) -> tuple[str, str]:
    """Returns libsndfile's names for the format of `path` and for the subtype, or raises; see `audio._format`."""
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise ValueError(
            f"`path` must end in a suffix that can be written: {', '.join(_FORMATS)}. Received: {str(path)!r}."
        )
    name = found.subtypes[0] if subtype is None else str(subtype).upper()
    if name not in found.subtypes:
        options = ", ".join(found.subtypes)
        raise ValueError(f"`subtype` of a {found.kind} file must be one of {options}. Received: subtype={subtype!r}.")
    limited = name if name in _RATES else found.kind
    rates = _RATES.get(limited)
    if sample_rate is not None and rates and not any(sample_rate in some for some in rates):
        rule = _RULES.get(limited) or f"one of {', '.join(map(str, rates[0]))}"
        raise ValueError(
            f"`sample_rate` of a {path.suffix} file ({name}) must be {rule}. Received: sample_rate={sample_rate}, for "
            f"{str(path)!r}. Write a .wav file, which holds any rate."
        )
    if size is not None and found.most_bytes and size * _BYTES.get(name, 2) + _HEADER > found.most_bytes:
        raise ValueError(
            f"A {path.suffix} file holds less than 4 GiB. Received: {size} samples of {name}. Write a .w64 file."
        )
    return found.kind, name


def write(file: Path | bytes, name: str, samples: np.ndarray, sample_rate: int, kind: str, subtype: str) -> None:
    """Writes samples to `file`, in blocks; `name` is the name in messages."""
    try:
        with soundfile.SoundFile(file, "w", sample_rate, 1, subtype, format=kind) as out:
            for start in range(0, len(samples), _BLOCK):
                out.write(samples[start : start + _BLOCK])
    except soundfile.LibsndfileError as error:
        full = error.code == SYSTEM_ERROR
        reason = "the system refused. Is the disk full?" if full else error.error_string
        raise OSError(f"{name!r} could not be written: {reason}") from error
