"""Where the options of each field of a recipe come from: the signature of the class or the function that gets them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gruvlike import _checks
from gruvlike.recipes import _signatures
from gruvlike.recipes._signatures import Option, Plain


@dataclass(frozen=True)
class Source:
    """The signature behind a field.

    Args:
        place: The family of parts, such as "encoders", or the function, such as "models.recurrent_stack".
        is_family: Whether `place` is a family: the field then names the part.
        filled: Arguments that `Recipe.build` fills in: they are no options.
        defaults: Defaults that differ from those of the signature: the paper's.
        late: Options without a default that may be left out, with the value that `Recipe.build` gives them, in words.
        is_open: Whether other options are passed on unchecked, to a class of Keras.
    """

    place: str
    is_family: bool = False
    filled: frozenset[str] = frozenset()
    defaults: Mapping[str, Plain] = field(default_factory=dict)
    late: Mapping[str, str] = field(default_factory=dict)
    is_open: bool = False

    def options(self, name: str = "") -> dict[str, Option]:
        """Returns the options of the function, or those of the part of a name, that a recipe can set."""
        return {key: option for key, option in self.arguments(name).items() if key not in self.filled}

    def arguments(self, name: str = "") -> Mapping[str, Option]:
        """Returns the options of `options`, and those that `Recipe.build` fills in."""
        if not self.is_family:
            return _signatures.options(self.place)
        return {"name": self.parts()[name], **_signatures.options(_signatures.names(self.place)[name])}

    def parts(self) -> dict[str, Option]:
        """Returns, for each part of a family, the option that names it."""
        names = tuple(_signatures.names(self.place))
        return dict.fromkeys(names, Option("name", (), (), names, self.defaults["name"], False, ""))

    def complete(self, path: str, given: object) -> dict[str, Plain]:
        """Returns checked options, with the default of each that is not given.

        Args:
            path: The name of the field, for messages.
            given: The options, a dictionary.

        Raises:
            ValueError: If an option is unknown, missing, or has a wrong value.
        """
        if not isinstance(given, Mapping):
            raise ValueError(f"`{path}` must be a dictionary of options. Received: {path}={given!r}.")
        settings = {**self.defaults, **given}
        name = settings.get("name", "")
        if isinstance(name, str) and name:  # "RMSprop" is a name of Keras, too
            name = settings["name"] = name.lower()
        if self.is_family:
            _checks.choice(f"{path}.name", name, tuple(self.parts()))
        known = self.options(name)
        for option in settings:
            if option not in known and not self.is_open:
                raise self._unknown(path, name, option, settings[option])
        complete = {key: self._value(path, name, option, settings) for key, option in known.items()}
        return {**complete, **{key: value for key, value in settings.items() if key not in complete}}

    def _value(self, path: str, name: str, option: Option, settings: Mapping[str, Any]) -> Plain:
        if option.name in settings and not (settings[option.name] is None and option.name in self.late):
            return option.checked(f"{path}.{option.name}", settings[option.name])
        if option.is_required and option.name not in self.late:
            part = f" of {name!r}" if name else ""
            raise ValueError(f"`{path}.{option.name}`{part} must be given: it has no default. Received: none.")
        return option.default

    def _unknown(self, path: str, name: str, option: str, value: object) -> ValueError:
        known = [key for key in self.options(name) if key != "name"]
        owners = [part for part in self.parts() if option in self.options(part)] if self.is_family else []
        near = difflib.get_close_matches(str(option), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" It belongs to {', '.join(owners)}." if owners else ""
        whose = f"The {path} {name!r}" if name else f"`{path}`"
        takes = f"takes the options {', '.join(known)}" if known else "takes no options"
        return ValueError(f"{whose} {takes}. Received: {path}.{option}={value!r}.{hint}")


QUARTER = "a quarter of a second, as in 2015"
SOURCES = {
    "encoder": Source(
        "encoders",
        is_family=True,
        filled=frozenset({"sample_rate"}),
        defaults={"name": "block_dft"},
        late={"block_size": QUARTER},
    ),
    "normalizer": Source(
        "normalizers", is_family=True, filled=frozenset({"features"}), defaults={"name": "standardizer"}
    ),
    "head": Source("heads", is_family=True, defaults={"name": "point"}),
    "network": Source("models.recurrent_stack", filled=frozenset({"features", "random_seed"})),
    "conditions": Source("recipes._assembly.conditions", filled=frozenset({"random_seed"})),
    "feedback": Source("recipes._assembly.feedback", filled=frozenset({"random_seed"})),
    "optimizer": Source("recipes._assembly.make_optimizer", is_open=True),
    "windows": Source("corpus.Corpus.windows", filled=frozenset({"random_seed", "shard"}), defaults={"batch_size": 5}),
    "split": Source("corpus.Corpus.split", defaults={"validation": 0.1}),
}
