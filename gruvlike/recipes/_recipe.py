"""The settings of a training as data, and the model and the windows that they stand for."""

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeVar

from gruvlike.recipes import _signatures
from gruvlike.recipes._signatures import Option, Plain
from gruvlike.recipes._sources import SOURCES

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus
    from gruvlike.models import AudioModel
    from gruvlike.windows import Windows

Options = Mapping[str, Any]  # values have the types of the signatures: they are checked when a recipe is made
Part = TypeVar("Part")


class Assembly(NamedTuple):
    """The model, the windows and the parts of one corpus that `Recipe.build` returns.

    Attributes:
        model: The model, compiled and not trained.
        windows: Windows of the training music.
        validation_windows: Windows of the validation music, the same in each epoch; `None` without such music.
        train: The music to train on.
        validation: The music held out for validation, or `None`.
        test: The music set aside for a test, or `None`.
    """

    model: "AudioModel"
    windows: "Windows"
    validation_windows: "Windows | None"
    train: "Corpus"
    validation: "Corpus | None"
    test: "Corpus | None"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training: data that JSON can hold, with a field for each call of the script that it stands for.

    The defaults are the paper's. An option that is left out of a dictionary gets the default of the class or function
    that takes it, except that a batch has 5 windows and validation a tenth of the music, as in the paper; the recipe
    shows all options. Types, names and ranges are checked when the recipe is made, without Keras.

    Args:
        encoder: The `name` of an encoder and its options: `{"name": "stft", "frame_size": 512}`. A `block_size` that is
            left out, or `None`, becomes a quarter of a second of the corpus.
        normalizer: The `name` of a normalizer and its options.
        head: The `name` of a head, the meaning of the network's outputs, and its options.
        network: Arguments of `recurrent_stack`.
        conditions: Inputs of the network besides the last frame: a `clock`, `lags`, an `anchor` and a `style`.
        feedback: How much a network reads of its own predictions in training: `share` of the frames (scheduled
            sampling), reached after so many `updates`, and `rollout_steps` at the end of a window.
        optimizer: The `name` of an optimizer of Keras and arguments of its class. The norm of the gradient is clipped
            at a `global_clipnorm` of 1 unless another one is given.
        loss: The name of a loss of Keras. `None` takes that of the head.
        windows: Arguments of `Corpus.windows`. Those for validation have the same sizes.
        split: Arguments of `Corpus.split`. With a `validation` of 0 no music is held out.
        epochs: Times through the music; `None` for as many as `minutes` allow.
        minutes: Time after which training ends; `None` for no limit.
        decay: Whether the learning rate falls along half a cosine over the `minutes`.
        patience: Epochs without a better model after which training ends; `None` for no limit. With `choose_by="song"`
            only epochs count whose songs were measured.
        choose_by: Number by which the best model is chosen: the validation "loss", or the distance of its "song"s from
            real music (`callbacks.SongScore`).
        random_seed: Makes weights, dropout, noise, scheduled sampling and the order of the windows repeatable.

    Raises:
        ValueError: If a field or an option is unknown or missing, or a value is out of its range.

    Example:
        >>> recipe = Recipe(network={"units": (300, 300)}, minutes=10, epochs=None)
        >>> recipe.network["cell"], recipe.windows["batch_size"], recipe.encoder["name"]
        ('lstm', 5, 'block_dft')
        >>> recipe.change(windows={"steps": 80}).windows["steps"]
        80
    """

    encoder: Options = field(default_factory=lambda: {"name": "block_dft"})
    normalizer: Options = field(default_factory=lambda: {"name": "standardizer"})
    head: Options = field(default_factory=lambda: {"name": "point"})
    network: Options = field(default_factory=lambda: {"units": (1024,), "projection": 1024})
    conditions: Options = field(default_factory=dict)
    feedback: Options = field(default_factory=dict)
    optimizer: Options = field(default_factory=lambda: {"name": "rmsprop"})
    loss: str | None = None
    windows: Options = field(default_factory=lambda: {"steps": 40, "batch_size": 5})
    split: Options = field(default_factory=lambda: {"validation": 0.1})
    epochs: int | None = 50
    minutes: float | None = None
    decay: bool = False
    patience: int | None = None
    choose_by: Literal["loss", "song"] = "loss"
    random_seed: int = 0

    def __post_init__(self) -> None:
        plain = plain_options()
        for name, value in vars(self).copy().items():
            source = SOURCES.get(name)
            checked: Any = source.complete(name, value) if source else plain[name].checked(name, value)
            object.__setattr__(self, name, checked)
        self._check_together()

    def _check_together(self) -> None:
        """Raises if two values exclude each other."""
        self._check_time()
        split, windows, feedback = self.split, self.windows, self.feedback
        validation, test = split["validation"], split["test"]
        given = f"Received: split.validation={validation}, split.test={test}."
        if test and not validation:
            raise ValueError(f"Music for a test needs music for validation beside it. {given}")
        if validation + test >= 1:
            raise ValueError(f"`split.validation` + `split.test` must leave music to train on. {given}")
        if windows["stateful"] and windows["hop"] is not None:
            raise ValueError(
                f"Stateful windows follow each other by `steps` frames. Received: windows.hop={windows['hop']}. "
                "Leave it out."
            )
        if feedback["rollout_steps"] >= windows["steps"]:
            raise ValueError(
                "`feedback.rollout_steps` must leave music to start from. Received: feedback.rollout_steps="
                f"{feedback['rollout_steps']}, windows.steps={windows['steps']}. Use longer windows."
            )

    def _check_time(self) -> None:
        rate = self.optimizer["learning_rate"]
        if self.epochs is None and self.minutes is None:
            raise ValueError("Training must end: give `epochs` or `minutes`. Received: None for both.")
        if self.decay and self.minutes is None:
            raise ValueError(
                "With `decay` the learning rate falls over the `minutes`. Received: minutes=None. Give `minutes`, or "
                "leave `decay` out (`--no-decay`)."
            )
        if self.decay and isinstance(rate, Mapping):
            raise ValueError(
                "With `decay` the learning rate must be a number, from which it falls. Received: a schedule, "
                f"optimizer.learning_rate={rate!r}. Leave one of the two out."
            )

    def change(self, **changes: Any) -> Self:
        """Returns a variant: options that are given replace those of the recipe, and the others stay.

        `dataclasses.replace` replaces whole fields instead. A part of another name starts from its own defaults.

        Args:
            **changes: Fields of the recipe; of a dictionary, only the options that change.

        Raises:
            ValueError: As the constructor.

        Example:
            >>> recipe = Recipe().change(encoder={"name": "mdct", "block_size": 256}, random_seed=1)
            >>> recipe.encoder, recipe.random_seed
            ({'name': 'mdct', 'block_size': 256, 'window': 'sine'}, 1)
        """
        _check_fields(changes)
        for name in SOURCES.keys() & changes.keys():
            old, new = getattr(self, name), changes[name]
            if isinstance(new, Mapping) and new.get("name", old.get("name")) == old.get("name"):
                changes[name] = {**old, **new}
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Plain]:
        """Returns the fields as data that `json.dumps` takes, for `from_dict`.

        Example:
            >>> Recipe().to_dict()["optimizer"]["name"]
            'rmsprop'
        """
        return {name: _as_json(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, fields: Options) -> Self:
        """Returns the recipe of some fields; those that are left out have their defaults.

        Raises:
            ValueError: As the constructor.

        Example:
            >>> Recipe.from_dict(Recipe(epochs=3).to_dict()) == Recipe(epochs=3)
            True
        """
        if not isinstance(fields, Mapping):
            raise ValueError(f"The fields of a recipe must be a dictionary. Received: {type(fields).__name__}.")
        _check_fields(fields)
        return cls(**fields)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str]) -> Self:
        """Reads a recipe from a JSON file with the data of `to_dict`, or from a run folder (its `config.json`).

        Args:
            file: The file, or the folder.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no recipe, or as the constructor.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = Path(folder, "mine.json")
            ...     _ = file.write_text(json.dumps(Recipe(epochs=3).to_dict()))
            ...     Recipe.from_file(file).epochs
            3
        """
        path = Path(file)
        path = path / "config.json" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"There is no recipe {str(path)!r}.")
        try:
            fields = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"A recipe is a file of JSON. Received: {str(path)!r} ({error}).") from error
        if isinstance(fields, dict) and "versions" in fields:  # the settings of a run have versions
            fields = fields.get("recipe")
            if fields is None:
                raise ValueError(f"The run must have been made from a recipe. Received: {str(path)!r}, without one.")
        return cls.from_dict(fields)

    def check_parts(self) -> None:
        """Makes each part once, without music, so that the part checks its options; imports Keras.

        `build` refuses the same. This way a mistake is found before a corpus is opened and measured.

        Raises:
            ValueError: If a part refuses its options.
            TypeError: If a part does not know an option.

        Example:
            >>> Recipe(encoder={"name": "mdct", "block_size": 3}).check_parts()
            Traceback (most recent call last):
            ValueError: `block_size` must be even for the MDCT. Received: block_size=3.
        """
        import keras

        from gruvlike import heads, models, normalizers
        from gruvlike.recipes import _assembly

        # Small sizes stand in for those that follow from the music, and for those of the network. A low sample rate
        # lets the encoder pass with as many mel filters as at any rate.
        block_size = {"block_size": 2} if self.encoder.get("block_size", 0) is None else {}
        _assembly.make_encoder({**self.encoder, **block_size}, 100, self._takes_rate)
        _made(normalizers.get, self.normalizer)
        head = _made(heads.get, self.head)
        _assembly.make_optimizer(**self.optimizer)
        keras.losses.get(head.training_loss(self.loss))
        small = {"units": 1, "projection": None}
        given = _assembly.conditions(**self.conditions)
        models.recurrent_stack(1, **{**self.network, **small}, **given, head=head, random_seed=self.random_seed)

    def build(self, corpus: "Corpus") -> Assembly:
        """Splits a corpus, fits the normalizer, and makes the model and the windows.

        Args:
            corpus: A `Corpus`, or a part of one.

        Returns:
            The model, compiled, and all that `fit` needs.

        Raises:
            ValueError: If the corpus is too small for the windows, a track has no beat where the conditions need one,
                or a part refuses its options.

        Example:
            >>> import gruvlike, tempfile
            >>> recipe = Recipe(encoder={"block_size": 100}, network={"units": 4}, windows={"steps": 8})
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gruvlike.audio.write(f"{folder}/tune.wav", gruvlike.tune.compose(4, 8000), 8000)
            ...     corpus = gruvlike.Corpus.build(folder, f"{folder}/music.h5", sample_rate=8000)
            ...     assembly = recipe.build(corpus)
            ...     len(assembly.windows), assembly.model.encoder.features
            (6, 200)
        """
        from gruvlike import heads, models, normalizers
        from gruvlike.recipes import _assembly

        windows, seed = self.windows, self.random_seed
        given = _assembly.conditions(corpus, **self.conditions, random_seed=seed)
        _assembly.check_beats(corpus, given)
        train, validation, test = _assembly.parts_of(corpus, self.split)
        _assembly.check_styles(train, given["style"])
        encoder = _assembly.make_encoder(self.encoder, corpus.sample_rate, self._takes_rate)
        batches = train.windows(encoder, **windows, random_seed=seed)
        held_out = None if validation is None else _assembly.validation_windows(validation, encoder, windows)
        normalizer = _made(normalizers.get, self.normalizer).fit(train, encoder)
        head = _made(heads.get, self.head)
        width = normalizer.width or encoder.features
        stack = models.recurrent_stack(width, **self.network, **given, head=head, random_seed=seed)
        feedback = _assembly.feedback(**self.feedback, random_seed=seed)
        model = models.AudioModel(
            encoder, normalizer, stack, train.sample_rate, train.high_pass_hz, **feedback, head=head
        )
        model.compile(_assembly.make_optimizer(**self.optimizer), loss=self.loss)
        return Assembly(model, batches, held_out, train, validation, test)

    @property
    def _takes_rate(self) -> bool:
        return "sample_rate" in SOURCES["encoder"].arguments(str(self.encoder["name"]))


def plain_options() -> Mapping[str, Option]:
    """Returns the fields of a recipe that are no dictionaries."""
    return _signatures.options("recipes._recipe.Recipe")


def _made(get: Callable[..., Part], options: Options) -> Part:
    """Returns the part that `get` of its family makes of a name and options."""
    given = dict(options)
    return get(given.pop("name"), **given)


def _check_fields(fields: Options) -> None:
    """Raises at the first name that is no field of a recipe."""
    known = [one.name for one in dataclasses.fields(Recipe)]
    for name in fields:
        if name not in known:
            owners = [owner for owner in SOURCES if name in getattr(Recipe(), owner)]
            near = [*owners, *difflib.get_close_matches(str(name), known, n=1)]
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"A recipe has the fields {', '.join(known)}. Received: {name!r}.{hint}")


def _as_json(value: Plain) -> Plain:
    """Returns a value with lists in place of tuples, and copies of dictionaries."""
    if isinstance(value, Mapping):
        return {name: _as_json(one) for name, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, list | tuple) else value
