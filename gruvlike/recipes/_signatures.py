"""The options of a part, read from the text of its source: names, types, defaults, and the words of its docstring.

A command line shows all options and checks them before anything is opened, and importing Keras, which nearly all parts
need, takes seconds. `ast` reads the signature of a class or a function without running it; the types that a setting can
have are those of JSON, so that nothing else has to be understood.
"""

import ast
import functools
import inspect
import numbers
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import NamedTuple

from gruvlike import _checks

# The values of a recipe are those of JSON, and tuples, which become lists there.
Plain = bool | int | float | str | list["Plain"] | tuple["Plain", ...] | dict[str, "Plain"] | None

_Definition = ast.ClassDef | ast.FunctionDef
_PACKAGE = Path(__file__).resolve().parents[1]
_TYPES: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_IN_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    dict: "a dictionary",
    NoneType: "None",
}
# The name of an option has the range of its number: (least, greatest, whether the least is excluded). The parts check
# their arguments themselves, but only once Keras is imported.
_INFINITE = float("inf")
_SHARE = (0.0, 1.0, False)
_AT_LEAST_0 = (0.0, _INFINITE, False)
_ABOVE_0 = (0.0, _INFINITE, True)
_RANGES = {
    "dropout": _SHARE,
    "input_dropout": _SHARE,
    "recurrent_dropout": _SHARE,
    "share": _SHARE,
    "validation": _SHARE,
    "test": _SHARE,
    "momentum": _SHARE,
    "input_noise": _AT_LEAST_0,
    "told_noise": _AT_LEAST_0,
    "temperature": _AT_LEAST_0,
    "anchor": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "gap_seconds": _AT_LEAST_0,
    "floor_db": (-200.0, 0.0, False),
    "learning_rate": _ABOVE_0,
    "global_clipnorm": _ABOVE_0,
    "minutes": _ABOVE_0,
    "preview_seconds": _ABOVE_0,
    "save_minutes": _ABOVE_0,
}
# Integers are at least 1, or 0 where the default is 0; and these are at least 0.
_MAY_BE_0 = {"offset", "preview_every"}


class Option(NamedTuple):
    """One option: an argument whose values can be written in JSON."""

    name: str
    types: tuple[type, ...]
    """The types of a single value."""
    items: tuple[type, ...]
    """The types of the items, where a value may be a tuple."""
    choices: tuple[str, ...]
    """The words of a `Literal`."""
    default: Plain
    is_required: bool
    help: str

    def checked(self, path: str, value: object) -> Plain:
        """Returns `value` as plain data.

        Args:
            path: The name of the option in messages, such as "encoder.hop".
            value: The value to check.

        Raises:
            ValueError: If its type or its range is wrong.
        """
        if value is None and NoneType in self.types:
            return None
        if isinstance(value, list | tuple) and self.items:
            return self._tuple(path, tuple(value))
        if isinstance(value, bool | str | dict):
            return self._no_number(path, value)
        if isinstance(value, numbers.Real) and float in self.types:
            return _checks.number(path, value, *_RANGES.get(self.name, (-_INFINITE, _INFINITE, False)))
        if isinstance(value, numbers.Integral) and int in self.types:
            return _checks.positive_int(path, value, minimum=int(self.default != 0 and self.name not in _MAY_BE_0))
        raise self._wrong_type(path, value)

    def _no_number(self, path: str, value: bool | str | dict[str, Plain]) -> Plain:
        if type(value) in self.types or value in self.choices:
            return value
        if isinstance(value, str) and self.choices and not self.types:
            return _checks.choice(path, value, self.choices)
        raise self._wrong_type(path, value)

    def _tuple(self, path: str, values: tuple[Plain, ...]) -> Plain:
        if self.items == (int,) and values:  # there may be any number of them
            return tuple(_checks.positive_int(path, value) for value in values)
        if self.items == (float,):
            return tuple(_checks.number(path, value, 0, open_low=True) for value in values)
        kinds = [numbers.Real if kind is float else kind for kind in self.items]
        if len(values) != len(kinds) or not all(map(isinstance, values, kinds)):
            raise self._wrong_type(path, values)
        return values

    def _wrong_type(self, path: str, value: object) -> ValueError:
        kinds = [*(_IN_WORDS[kind] for kind in self.types), *map(repr, self.choices)]
        if self.items:
            kinds.append(f"several ({', '.join(_IN_WORDS[kind] for kind in self.items)})")
        return ValueError(f"`{path}` must be {' or '.join(kinds)}. Received: {path}={value!r}.")


@functools.cache
def options(place: str) -> Mapping[str, Option]:
    """Returns the options of a function, a class or a dataclass of this package.

    Args:
        place: Its dotted name without the name of the package, such as "encoders.STFT" or "corpus.Corpus.split".

    Returns:
        Name -> option, in the order of the signature. Arguments whose values are no plain data are left out.
    """
    *modules, name = place.split(".")
    if not modules[-1][0].isupper():
        return _of_definition(*_find(".".join(modules), name))
    _, owner = _find(".".join(modules[:-1]), modules[-1])
    method = next(node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return _of_function(method, _words(method))


@functools.cache
def names(family: str) -> Mapping[str, str]:
    """Returns the names of a family of parts, such as "encoders", and where the class of each is found."""
    for node in _tree(family).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="_NAMES")], value=ast.Dict(keys=keys, values=classes))
                | ast.AnnAssign(target=ast.Name(id="_NAMES"), value=ast.Dict(keys=keys, values=classes))
            ):
                pairs = zip(keys, classes, strict=True)
                return {ast.literal_eval(key): f"{family}.{ast.unparse(kind)}" for key, kind in pairs if key}
    raise LookupError(f"gruvlike.{family} has no table _NAMES.")


def _of_definition(module: str, node: _Definition) -> Mapping[str, Option]:
    """Returns the options of a function, of a dataclass, or of the constructor that a class has or inherits."""
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, _words(node))
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return _of_fields(node)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(item, _words(node))
    for base in node.bases:
        if isinstance(base, ast.Name):
            return _of_definition(*_find(module, base.id))
    return {}


def _of_function(node: ast.FunctionDef, words: Mapping[str, str]) -> Mapping[str, Option]:
    given = node.args
    missing = [None] * (len(given.args) - len(given.defaults))
    pairs = [*zip(given.args, [*missing, *given.defaults], strict=True)]
    pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
    found = (_option(argument.arg, argument.annotation, default, words) for argument, default in pairs)
    return {option.name: option for option in found if option}


def _of_fields(node: ast.ClassDef) -> Mapping[str, Option]:
    words, found = _words(node), {}
    for item in node.body:
        match item:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=default):
                if option := _option(name, annotation, default, words):
                    found[name] = option
    return found


def _option(
    name: str, annotation: ast.expr | None, default: ast.expr | None, words: Mapping[str, str]
) -> Option | None:
    """Returns an option, or `None` where the type is not one of JSON, or the default is computed."""
    kinds = _Kinds()
    try:
        kinds.add(annotation)
        value = None if default is None else ast.literal_eval(default)
    except ValueError:
        return None
    types, items, choices = tuple(kinds.types), tuple(kinds.items), tuple(kinds.choices)
    return Option(name, types, items, choices, value, is_required=default is None, help=words.get(name, ""))


class _Kinds:
    """The types in an annotation such as `int | tuple[int, ...] | None`."""

    def __init__(self) -> None:
        self.types: list[type] = []
        self.items: list[type] = []
        self.choices: list[str] = []

    def add(self, node: ast.expr | None) -> None:
        """Adds each alternative of an annotation; raises ValueError at a type that is not one of JSON."""
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                self.add(left)
                self.add(right)
            case ast.Constant(value=None):
                self.types.append(NoneType)
            case ast.Name(id=name) if name in _TYPES:
                self.types.append(_TYPES[name])
            case ast.Subscript(value=ast.Name(id="dict")):
                self.types.append(dict)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
                self.choices.extend(map(ast.literal_eval, words))
            case ast.Subscript(value=ast.Name(id="Literal"), slice=word):
                self.choices.append(ast.literal_eval(word))
            case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
                self.items.extend(_TYPES[item.id] for item in items if isinstance(item, ast.Name))
            case _:
                raise ValueError("The type is not one of JSON.")


def _words(node: _Definition) -> Mapping[str, str]:
    """Returns name -> text of the `Args` in a docstring."""
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    section = re.search(r"^Args:\n((?: +.*\n|\n)*)", f"{text}\n", re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.split(r"^ {4}(?=\S)", section[1] if section else "", flags=re.MULTILINE)[1:]:
        heads, _, body = entry.partition(":")
        words = " ".join(body.split())
        found |= {name.strip(): f"{words[:1].upper()}{words[1:]}" for name in heads.split(",")}
    return found


def _find(module: str, name: str) -> tuple[str, _Definition]:
    """Finds a definition in a module, or in the module of this package that it is imported from."""
    for node in _tree(module).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return module, node
            case ast.ImportFrom(module=home, names=aliases) if name in {alias.name for alias in aliases}:
                return _find(str(home).removeprefix("gruvlike."), name)
    raise LookupError(f"gruvlike.{module} has no {name}.")


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))
