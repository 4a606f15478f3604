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
`seeds`         openings: mixed, spliced, transposed, noise
`generation`    continue a seed into a song
`callbacks`     watch over training
`metrics`       judge sound
`plots`         look at sound and learning
`listening`     a page to listen to
`live`          a song that plays while it is made
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
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

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
    "conditions": ("Clock", "Lags", "Anchor", "Style"),
    "models": ("recurrent_stack", "AudioModel", "load"),
    "seeds": (),
    "generation": ("Generator",),
    "callbacks": (),
    "metrics": (),
    "plots": (),
    "listening": (),
    "live": (),
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


# Keras finds the classes of a saved model once they are registered, and `import gruvlike, keras` is all that somebody
# writes who loads one by `keras.saving.load_model`. So the imports of Keras and of our own modules are watched: after
# the outermost of them, if Keras is there, the module that registers all classes is imported, once.
_REGISTERS = "gruvlike.models"  # it imports all others that register classes


def _register() -> None:
    try:
        importlib.import_module(_REGISTERS)
    except Exception as error:  # to import Keras must not fail because of us
        import logging

        logging.getLogger(__name__).debug("The classes of gruvlike are not registered with Keras: %s", error)


class _Watcher:
    """Finds no module itself; it learns when the outermost import of Keras or of one of ours has ended."""

    def __init__(self) -> None:
        self._depth = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras" and not name.startswith("gruvlike."):
            return None
        finders = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((found for finder in finders if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Then(spec.loader, self))
        return spec

    def run(self, loader: Any, module: ModuleType) -> None:
        """Executes a module, and registers the classes after the outermost one."""
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        try:
            loader.exec_module(module)
        finally:
            self._depth.value = depth
        if depth == 0 and "keras" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _register()


class _Then:
    """The loader of a module, which says when it has executed it."""

    def __init__(self, loader: Any, watcher: _Watcher):
        self._loader, self._watcher = loader, watcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module gets its own loader back: resources and the source are read through it.
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        self._watcher.run(self._loader, module)


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, cast(Any, _Watcher()))
