"""gruvlike: music with recurrent networks, block by block.

Sound goes through a short chain of parts that meet through arguments:

    files -> corpus -> windows -> encoder -> normalizer -> recurrent stack -> generator -> sound

==============  ============================================================
module          purpose
==============  ============================================================
`audio`         files <-> mono float32 samples
`corpus`        the PCM of many tracks in one HDF5 file
`windows`       batches of PCM windows for `fit`
`encoders`      samples <-> frames
`decoders`      frames that arrive in pieces -> the sound of a song
`normalizers`   scale frames, invertibly
`heads`         the meaning of the network's outputs: a frame, or a distribution
`conditions`    the beat, and frames of the past, as inputs of the stack
`models`        the recurrent stack, and the model that owns its encoder
`generation`    continue a seed into a song
`callbacks`     watch over training
`metrics`       judge sound
`plots`         look at sound and learning
`rhythm`        tempo and beat of music
`gruv2015`      the published pipeline, to the digit
`recipes`       the settings of a training as data
`tune`          a piece that the package composes itself
==============  ============================================================

Classes, `recurrent_stack` and `load` are reachable here (`gruvlike.BlockDFT`); functions through their module
(`gruvlike.audio.read`). Importing gruvlike takes milliseconds:
Keras is imported on the first use of a name that needs it.
"""

import importlib
from typing import Any

from gruvlike import _registration

__version__ = "0.1.0"

# The one place where public modules and top-level names are listed: module -> names that are also reachable at the top.
_PUBLIC: dict[str, tuple[str, ...]] = {
    "audio": (),
    "corpus": ("Corpus",),
    "windows": ("Windows",),
    "encoders": ("Encoder", "TimeBlocks", "BlockDFT", "HalfDFT", "STFT", "MDCT", "LogSpectrum"),
    "decoders": (),
    "normalizers": ("Normalizer", "Standardizer", "GlobalScale", "MinMax", "Identity", "PrincipalComponents"),
    "heads": (),
    "conditions": ("Clock", "Lags", "Anchor"),
    "models": ("recurrent_stack", "AudioModel", "load"),
    "generation": ("Generator",),
    "callbacks": (),
    "metrics": (),
    "plots": (),
    "rhythm": (),
    "gruv2015": (),
    "recipes": (),
    "tune": (),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*_PUBLIC, *_HOME]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_registration.install()
