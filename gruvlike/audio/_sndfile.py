"""Sound from libsndfile: WAV and its kin, AIFF, AU, CAF, FLAC, Ogg Vorbis, Opus, MP3."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from gruvlike.audio._sound import Chunk, FaultError
from gruvlike.audio._views import View

FRAMES = 1 << 17
SYSTEM_ERROR = 2  # of libsndfile's error codes
_INEXACT_FRAMES = 4096  # the length of an Ogg stream is known to within a packet
_LEAST_SHARE = 0.9  # of an estimated length
_UNKNOWN = 1 << 48  # frames: nothing is as long


def chunks(source: Path | View, wanted: float, counted: bool = True) -> Iterator[Chunk]:
    """Yields the chunks of a file.

    Args:
        source: The file.
        wanted: How much longer than the file the sound is that its header promises: 1 for a whole one.
        counted: Whether the frames of an MP3 file were counted: otherwise the estimate of its length must do.
    """
    with _opened(source) as file:
        rate = file.samplerate
        if wanted > 1:
            seconds = file.frames / rate
            raise FaultError(f"its header promises {seconds * wanted:.2f} s, {seconds:.2f} s are there", at=seconds)
        # The length of MP3 is an estimate. Elsewhere nothing behind the length is read: a tag at the end of a FLAC file
        # is an error to the decoder.
        promised = file.frames if not file.subtype.startswith("MPEG") and file.frames < _UNKNOWN else _UNKNOWN
        length = promised / rate if promised < _UNKNOWN else 0.0
        buffer = np.empty((max(2 * FRAMES // max(file.channels, 2), 1), file.channels), np.float32)
        done = 0
        while done < promised:
            part = buffer[: min(len(buffer), promised - done)]
            try:
                block = file.read(out=part)
            except soundfile.LibsndfileError as error:
                raise FaultError(error.error_string, done / rate, len(part) / rate, length) from error
            if not len(block):
                break
            done += len(block)
            yield Chunk(rate, block)
    if not counted and _UNKNOWN == promised > file.frames > done / _LEAST_SHARE:
        raise FaultError(
            f"by its header it has {file.frames / rate:.2f} s, {done / rate:.2f} s were found", done / rate
        )
    if promised < _UNKNOWN and promised - done > (_INEXACT_FRAMES if file.format == "OGG" else 0):
        raise FaultError(f"{promised - done} samples are missing", done / rate, promised=length)


def file_name(path: Path) -> Path | bytes:
    """Returns `path` in the form for soundfile, which itself cannot encode file names that are no UTF-8."""
    return os.fsencode(path) if os.name == "posix" else path


def _opened(source: Path | View) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(file_name(source) if isinstance(source, Path) else source)
    except soundfile.LibsndfileError as error:
        # libsndfile says that an MP3 file does not exist where it finds no frames in it.
        reason = "no frames of MP3 are found" if "does not exist" in error.error_string else error.error_string
        raise FaultError(reason) from error
    if file.format == "RAW":  # libsndfile took it for headerless samples because of its suffix alone
        file.close()
        raise FaultError("format not recognized")
    return file
