"""The options of `gruvlike train`, made from the fields of a recipe: names, types, defaults and words stand there.

The options of a recipe come from the signatures of parts and functions. Here each option gets a flag, a reader for the
text of its value, and a line of help. The recipe checks the values.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gruvlike import recipes
from gruvlike.recipes import Recipe, _signatures
from gruvlike.recipes._recipe import plain_options
from gruvlike.recipes._signatures import Option, Plain
from gruvlike.recipes._sources import SOURCES

DEFAULT = "music"  # the recipe of a command line that names none
# Each title of a group in the help has its fields of the recipe.
GROUPS = {
    "data": ("split", "windows"),
    "frames": ("encoder", "normalizer"),
    "network": ("network", "head", "conditions"),
    "training": (
        *("optimizer", "loss", "feedback", "epochs", "minutes", "decay", "patience", "choose_by", "random_seed"),
    ),
}
# These options have other names here, because their own names say too little without the field.
_NAMES = {
    "feedback.share": "scheduled_sampling",
    "feedback.updates": "sampling_updates",
    "split.by": "split_by",
    "normalizer.components": "normalizer_components",
}
# The help gives these defaults in words.
_DEFAULTS = {
    "network.projection": "none; 0 is none, too",
    "epochs": "as many as --minutes allow",
}


class Flag(NamedTuple):
    """An option of the command line."""

    path: str
    """The field, and the option in it, of a recipe: "encoder.hop" or "epochs"."""
    name: str
    """The flag, with underscores and without dashes."""
    owners: Mapping[str, Option]
    """The option, by the name of each part that has it ("" for a function)."""

    @property
    def option(self) -> Option:
        return next(iter(self.owners.values()))


def flags(fields: Iterable[str]) -> Iterator[Flag]:
    """Yields the flags of some fields of a recipe.

    A flag has the name of its option. Where another field has an option of that name, too, the option of a part gets
    the name of its field in front: `--encoder-hop` beside `--hop`, which is that of the windows.
    """
    taken = [name for field in SOURCES for name in _options_of(field)] + [*plain_options()]
    for field in fields:
        if field not in SOURCES:
            yield Flag(field, field, {"": plain_options()[field]})
            continue
        for name, owners in _options_of(field).items():
            path = f"{field}.{name}"
            is_of_part = "name" in _options_of(field)
            prefixed = f"{field}_{name}" if is_of_part and taken.count(name) > 1 else name
            yield Flag(path, field if name == "name" else _NAMES.get(path, prefixed), owners)


def _options_of(field: str) -> dict[str, dict[str, Option]]:
    """Returns option -> name of the part -> the option, over all parts that the field can name."""
    source = SOURCES[field]
    found: dict[str, dict[str, Option]] = {}
    for part in source.parts() if source.is_family else ("",):
        for name, option in source.options(part).items():
            found.setdefault(name, {})[part] = option
    return found


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a recipe, in groups."""
    defaults = recipes.get(DEFAULT)
    for title, fields in GROUPS.items():
        group = parser.add_argument_group(title)
        for flag in flags(fields):
            add_option(group, flag.name, flag.option, dest=flag.path, help=_help(flag, defaults))


def add_option(group: Any, name: str, option: Option, *, dest: str, help: str) -> None:
    """Adds an option to a parser or a group of it; without the option, the parsed namespace has no such name."""
    settings = {"dest": dest, "help": help.replace("%", "%%"), "default": argparse.SUPPRESS}
    flag = f"--{name.replace('_', '-')}"
    if bool in option.types:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **settings)
    else:
        group.add_argument(flag, type=reader(option), metavar=_metavar(option), **settings)


def run_options() -> dict[str, Option]:
    """Returns the options of a run folder that are no matter of the recipe."""
    known = _signatures.options("callbacks.run_callbacks")
    return {name: known[name] for name in ("preview_every", "preview_seconds", "save_minutes")}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a run folder."""
    group = parser.add_argument_group("run")
    for name, option in run_options().items():
        text = f"{_short(option.help, is_shared=False)} (default: {option.default})"
        add_option(group, name, option, dest=name, help=text)


def recipe_of(given: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a command line: the one that `--recipe` names, changed by the options that were given.

    Args:
        given: Path -> value, and other options of the command.

    Raises:
        ValueError: As `Recipe`.
        FileNotFoundError: If there is no such recipe.
    """
    changes: dict[str, Any] = {}
    for path, value in given.items():
        field, _, name = path.partition(".")
        if name:
            changes.setdefault(field, {})[name] = value
        elif field in plain_options():
            changes[field] = value
    if "units" in changes.get("network", {}):
        # The linear layer in front belongs to the paper's network, not to one of the user's own.
        changes["network"].setdefault("projection", None)
    if changes.get("minutes") is not None:
        changes.setdefault("epochs", None)
    started = _started(given.get("recipe", DEFAULT))
    try:
        return started.change(**changes)
    except ValueError as error:
        if _is_for_the_paper(changes, started):
            raise ValueError(f"{error} With the recipe of 2015 it fits: add `--recipe paper`.") from None
        raise


def _started(name: str) -> Recipe:
    is_path = name not in recipes._NAMES and (name.endswith(".json") or Path(name).exists())
    return Recipe.from_file(name) if is_path else recipes.get(name)


def _is_for_the_paper(changes: Mapping[str, Any], started: Recipe) -> bool:
    """Returns whether an option belongs to a part that the recipe at hand does not have, but the paper's has."""
    families = [field for field in changes if field in SOURCES and SOURCES[field].is_family]
    try:
        paper = recipes.get("paper").change(**changes)
    except ValueError:
        return False
    return any(
        option in getattr(paper, field) and option not in getattr(started, field)
        for field in families
        for option in changes[field]
    )


def reader(option: Option) -> Callable[[str], Plain]:
    """Returns the function that reads a value of an option from a word of the command line."""

    def read(text: str) -> Plain:
        if type(None) in option.types and (text == "none" or (option.name, text) == ("projection", "0")):
            return None
        if option.items and ("," in text or not option.types or option.items == (int,)):
            return tuple(_number_or_text(part) for part in text.split(","))
        value = _number_or_text(text)
        return value if int in option.types or float in option.types else text

    return read


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _metavar(option: Option) -> str:
    if option.choices:
        return "|".join(option.choices) if len(option.choices) < 5 else "NAME"
    if option.items in ((int,), (float,)):
        return "N,N" if int in option.items else "X,X"
    return "N" if int in option.types else "X" if float in option.types else "NAME"


def _help(flag: Flag, defaults: Recipe) -> str:
    """Returns the words of a docstring, the parts that have the option, its choices, and its default."""
    field, _, name = flag.path.partition(".")
    text = _short(flag.option.help, is_shared=len(flag.owners) > 1)
    if name == "name":
        text = f"one of {', '.join(flag.option.choices)}"
    elif name and SOURCES[field].is_family:
        owners = ", ".join(
            f"{part} ({', '.join(option.choices)})" if option.choices else part for part, option in flag.owners.items()
        )
        text = f"{text}; of {owners}"
    default = _default(flag, defaults)
    return f"{text} (default: {default})" if default else text


def _short(text: str, is_shared: bool) -> str:
    """Returns the words of a docstring for a help line: without marks, and one sentence of a long text."""
    plain = text.replace("`None`", "none").replace("`", "")
    if is_shared or len(plain) > 120:
        plain = plain.partition(". ")[0]
    return f"{plain[:1].lower() if plain[1:2].islower() else plain[:1]}{plain[1:]}".rstrip(".")


def _default(flag: Flag, defaults: Recipe) -> str:
    field, _, name = flag.path.partition(".")
    if flag.path in _DEFAULTS:
        return _DEFAULTS[flag.path]
    value = getattr(defaults, field)
    if name:
        late = SOURCES[field].late.get(name, "")
        value = value.get(name, flag.option.default) or late
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None or value is False else "yes" if value is True else str(value)
