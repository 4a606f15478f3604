"""Keras finds the classes of a saved model once they are registered: that is done as soon as Keras is there.

`import gruvlike` takes milliseconds and imports no Keras. But `import gruvlike, keras` is all that somebody writes who
loads a model by `keras.saving.load_model`. So the imports of Keras and of our own modules are watched: after the
outermost of them, if Keras is among the modules, ours with classes to register are imported, once.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_REGISTERS = "gruvlike.models"  # it imports all others that register classes


def install() -> None:
    """Watches imports until the classes are registered; if Keras is there already, they are registered now."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Watcher())


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
            spec.loader = _Then(spec.loader, self)
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
