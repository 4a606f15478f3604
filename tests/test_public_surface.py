"""The public names and their signatures, as a golden file.

After a change that is meant: `python tests/test_public_surface.py`, and look at the difference before committing it.
"""

import ast
import dataclasses
import difflib
import doctest
import importlib
import inspect
import re
from pathlib import Path

import keras

import gruvlike

GOLDEN = Path(__file__).with_name("public_surface.txt")
# Methods that Keras calls, not people.
HOOKS = re.compile(r"build|call|result|update_state|from_config|get_config|compile_from_config|compute_\w+|on_\w+")
# Names that wait for their example. The list only shrinks: a name with an example has to leave it.
WITHOUT_YET: dict[str, set[str]] = {}


def signature(function):
    """Names, kinds and defaults; annotations are written differently from one Python to the next."""
    plain = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in plain.parameters.values()]
    return str(plain.replace(parameters=bare, return_annotation=plain.empty))


def public_names(module):
    ours = getattr(module, "__all__", None)
    if ours is None:
        ours = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return sorted(name for name in ours if not name.startswith("_"))


def describe(path, value):
    if inspect.isclass(value):
        yield f"{path}{signature(value)}"
        # An inherited member is listed at its own class, unless that is a private class of ours.
        private = [kind for kind in value.__mro__ if kind.__module__.startswith("gruvlike._")]
        members = {name for kind in (value, *private) for name in vars(kind)}
        for name in sorted(members):
            member = inspect.getattr_static(value, name)
            if name.startswith("_"):
                continue
            if isinstance(member, classmethod | staticmethod):
                yield f"{path}.{name}{signature(getattr(value, name))}"
            elif inspect.isfunction(member):
                yield f"{path}.{name}{signature(member)}"
            else:
                yield f"{path}.{name}"
    elif callable(value):
        yield f"{path}{signature(value)}"
    else:
        yield path


def surface():
    lines = []
    for module, names in gruvlike._PUBLIC.items():
        home = importlib.import_module(f"gruvlike.{module}")
        for name in public_names(home):
            lines += describe(f"gruvlike.{module}.{name}", getattr(home, name))
        lines += [f"gruvlike.{name} = gruvlike.{module}.{name}" for name in names]
    return "".join(f"{line}\n" for line in lines)


def test_public_surface_is_as_agreed():
    golden, now = GOLDEN.read_text("utf-8").splitlines(), surface().splitlines()
    difference = "\n".join(difflib.unified_diff(golden, now, "agreed", "now", lineterm="", n=0))
    assert golden == now, f"if this is meant: python tests/test_public_surface.py\n{difference}"


def test_every_name_at_the_top_can_be_reached():
    missing = [name for name in gruvlike.__all__ if not hasattr(gruvlike, name)]
    assert not missing
    assert set(gruvlike.__all__) <= set(dir(gruvlike))


def test_type_checkers_see_the_names_of_the_lazy_table():
    """`__init__.pyi` takes the place of `__init__.py` for them; `import name as name` is a public name there."""
    tree = ast.parse(Path(gruvlike.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    seen = [(node.module, alias.name, alias.asname) for node in imports for alias in node.names]
    modules = [("gruvlike", module, module) for module in gruvlike._PUBLIC]
    names = [(f"gruvlike.{module}", name, name) for name, module in gruvlike._HOME.items()]
    assert sorted(seen) == sorted(modules + names)


def test_every_public_name_has_a_docstring():
    bare = []
    for module in gruvlike._PUBLIC:
        home = importlib.import_module(f"gruvlike.{module}")
        bare += [
            f"{module}.{name}"
            for name in public_names(home)
            if callable(getattr(home, name)) and not inspect.getdoc(getattr(home, name))
        ]
    assert not bare


def examples(thing):
    """Returns the source of the examples in a docstring, as far as they are run."""
    found = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    return "".join(example.source for example in found if doctest.SKIP not in example.options)


def is_record(kind):
    """Whether a class only holds the result of a function that its docstring names in the first paragraph."""
    first = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return (issubclass(kind, tuple | dict) or dataclasses.is_dataclass(kind)) and re.search(
        r"`[\w.]+`", first
    ) is not None


def is_hook(kind, name):
    """Whether a method is one that Keras calls, on a class of Keras."""
    foreign = [base for base in kind.__mro__ if not base.__module__.startswith("gruvlike")]
    return HOOKS.fullmatch(name) and any(name in vars(base) for base in foreign)


def is_shown(kind, name):
    """Whether a method has an example, or overrides one that has, or is written in the example of its class."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("gruvlike")]
    own = any(examples(vars(base)[name]) for base in ours if name in vars(base))
    return own or any(f"def {name}(" in examples(base) for base in ours)


def without_example(path, value):
    """Yields the dotted names of a public function or class, and of its methods, that no example shows."""
    if getattr(value, "_is_protocol", False):  # a protocol is for annotations alone
        return
    is_class = inspect.isclass(value)
    if not examples(value) and not (is_class and is_record(value)):
        yield path
    for line in list(describe("", value))[1:] if is_class else ():
        name = line.split("(")[0].rpartition(".")[2]
        member = inspect.getattr_static(value, name)
        is_method = inspect.isfunction(member) or isinstance(member, classmethod | staticmethod)
        if is_method and not is_hook(value, name) and not is_shown(value, name):
            yield f"{path}.{name}"


def test_every_public_function_has_an_example_that_runs():
    for module in gruvlike._PUBLIC:
        home = importlib.import_module(f"gruvlike.{module}")
        things = [(name, getattr(home, name)) for name in public_names(home)]
        missing = {path for name, thing in things if callable(thing) for path in without_example(name, thing)}
        listed = WITHOUT_YET.get(module, set())
        assert missing - listed == set(), f"{module}: write an example"
        assert listed - missing == set(), f"{module}: take these out of WITHOUT_YET"


class Shown(keras.layers.Layer):
    """A class for the control.

    Example:
        >>> class Mine(Shown):
        ...     def written(self):
        ...         pass
        >>> Mine().used()
    """

    __module__ = "gruvlike.control"

    def written(self):
        """Is written in the example of its class."""

    def used(self):
        """Is only used there."""

    def own(self):
        """Has an example.

        >>> Shown().own()
        """

    def skipped(self):
        """Has an example that is not run.

        >>> Shown().skipped()  # doctest: +SKIP
        """

    def call(self):
        """Is called by Keras."""

    def on_epoch_end(self):
        """Is named like a method that Keras calls on other classes."""


class Result(tuple):
    """The result of `test_a_missing_example_is_found`."""


class Bare(tuple):
    """The result of a function without a name."""


def test_a_missing_example_is_found():
    """The control."""
    kinds = (Shown, Result, Bare)
    missing = [name for kind in kinds for name in without_example(kind.__name__, kind)]
    assert missing == ["Shown.on_epoch_end", "Shown.skipped", "Shown.used", "Bare"]
    assert list(without_example("function", lambda: None)) == ["function"]


if __name__ == "__main__":
    GOLDEN.write_text(surface(), "utf-8")
