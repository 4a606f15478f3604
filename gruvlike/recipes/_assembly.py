"""From the options of a recipe to the parts that they stand for: all that needs Keras."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras

from gruvlike import encoders
from gruvlike.conditions import Anchor, Clock, Condition, Lags, Style
from gruvlike.recipes._signatures import Plain

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus
    from gruvlike.windows import Windows


def make_encoder(options: Mapping[str, Any], sample_rate: int, takes_rate: bool) -> encoders.Encoder:
    """Returns the encoder of some options for music at a sample rate.

    Args:
        options: Its `name` and its options; a `block_size` of `None` is a quarter of a second.
        sample_rate: Of the music, in Hz.
        takes_rate: Whether the encoder has an argument `sample_rate`.
    """
    given = dict(options)
    if takes_rate:
        given["sample_rate"] = sample_rate
    if given.get("block_size", 0) is None:
        given["block_size"] = round(sample_rate / 4)
    return encoders.get(given.pop("name"), **given)


def make_optimizer(
    name: Literal[
        "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion", "muon", "nadam", "rmsprop",
        "schedulefreeadamw", "sgd",
    ],
    learning_rate: float | dict[str, Plain] | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    global_clipnorm: float | None = 1.0,
    **options: Plain,
) -> keras.Optimizer:  # fmt: skip
    """Returns an optimizer of Keras.

    Args:
        name: Its class in `keras.optimizers`, in small letters.
        learning_rate: The learning rate, or a schedule as `keras.optimizers.schedules.serialize` gives it. `None`
            takes the default of Keras.
        momentum: Of SGD and RMSprop. `None` takes the default of Keras.
        weight_decay: Share of each weight that is subtracted in each step, times the learning rate. `None` takes the
            default of Keras.
        global_clipnorm: Norm of the gradient of all weights together, above which the gradient is scaled down to it.
            `None` does not clip.
        **options: Other arguments of the class.
    """
    given = {"learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay, **options}
    given = {option: value for option, value in given.items() if value is not None}
    return keras.optimizers.get({"class_name": name, "config": {**given, "global_clipnorm": global_clipnorm}})


def feedback(random_seed: int, share: float = 0.0, updates: int = 1000, rollout_steps: int = 0) -> dict[str, Any]:
    """Returns the arguments of `AudioModel` that let a network read its own predictions while it trains.

    Args:
        random_seed: Decides which frames are replaced.
        share: Share of the frames, in [0, 1], that are replaced by the model's own predictions while it trains
            (scheduled sampling).
        updates: Training steps until that share is reached; it grows linearly from 0.
        rollout_steps: How many frames at the end of a window are the model's own predictions, one after the other.
    """
    # Without replaced frames the model has no use for the integer. Runs of the first version, which did not give it,
    # are continued.
    seed = random_seed if share else None
    return {
        "scheduled_sampling": share, "sampling_updates": updates, "rollout_steps": rollout_steps, "random_seed": seed,
    }  # fmt: skip


def conditions(
    corpus: "Corpus | None" = None,
    clock: bool = False,
    lags: tuple[float, ...] = (),
    anchor: float = 0.0,
    style: Literal["folder", "track"] | None = None,
    style_size: int = 16,
    random_seed: int = 0,
) -> dict[str, Any]:
    """Returns the arguments of `recurrent_stack` for all inputs of a network besides the last frame.

    Args:
        corpus: All music, whose labels a style knows; `None`: its labels do not matter.
        clock: Whether the network reads the place of the frame to come in beat and bar.
        lags: Earlier frames of the same sound that the network reads, in beats before the frame to come.
        anchor: Length of the end of the seed that the network reads over and over, in beats. 0 is none.
        style: Label of the music that the network reads: the folder of a track, or its name. `None` is none.
        style_size: Numbers of the vector that the network learns for each label.
        random_seed: Decides the first values of these vectors.
    """
    made = None
    if style is not None and corpus is None:
        made = Style(("any",), style, style_size)  # without music the other options can be checked still
    elif style is not None and corpus is not None:
        made = Style.of(corpus, style, size=style_size, random_seed=random_seed)
    return {
        "clock": Clock() if clock else None,
        "lags": Lags(beats=lags) if lags else None,
        "anchor": Anchor(beats=anchor) if anchor else None,
        "style": made,
    }


def check_beats(corpus: "Corpus", given: Mapping[str, Condition | None]) -> None:
    """Raises if a condition needs the beat of music whose beat was never sought: a corpus file of the first format."""
    names = [name for name, condition in given.items() if condition is not None and condition.needs_beat]
    without = [track.name for track in corpus if track.beat is None]
    if names and without:
        raise ValueError(
            f"A network with {', '.join(names)} needs music whose beat was sought. Received: {len(without)} of "
            f"{len(corpus)} tracks without one, such as {without[0]!r}. `gruvlike beats {corpus.file}`, or "
            "`Corpus.add_beats()`, adds the beats: nothing is decoded again."
        )


def check_styles(train: "Corpus", style: Style | None) -> None:
    """Raises if a label of the style has no music to learn it from: all of it is held out."""
    missing = sorted(set(style.labels) - set(Style.of(train, style.by).labels)) if style else []
    if missing:
        raise ValueError(
            "Each label of a style needs music to train on. Received: all music of "
            f"{', '.join(map(repr, missing))} is held out. Split by time (`--split-by time`), or hold out less."
        )


def parts_of(corpus: "Corpus", options: Mapping[str, Any]) -> tuple["Corpus", "Corpus | None", "Corpus | None"]:
    """Returns the parts for training, validation and test; `None` for one that gets no share."""
    if not options["validation"]:
        return corpus, None, None
    train, validation, *test = corpus.split(**options)
    return train, validation, test[0] if test else None


def validation_windows(validation: "Corpus", encoder: encoders.Encoder, options: Mapping[str, Any]) -> "Windows":
    """Returns windows to judge by: of the sizes of those for training, and the same ones in each epoch."""
    sizes = {name: options[name] for name in ("steps", "batch_size", "hop")}
    try:
        return validation.windows(encoder, **sizes, shuffle=False, offset=0)
    except ValueError as error:
        raise ValueError(f"The music held out for validation is too short. {error} Or hold out more.") from error
