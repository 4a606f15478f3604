"""`gruvlike info`: the contents of a corpus or a model."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import clock, say
from gruvlike.cli._parser import Commands, add_command
from gruvlike.cli._paths import model_file, source
from gruvlike.cli.beats import tempo_of
from gruvlike.recipes import Recipe

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus
    from gruvlike.encoders import Encoder
    from gruvlike.models import AudioModel

_Rows = list[tuple[str, object]]


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(commands, info, help="say what a corpus or a model holds", example="info runs/a")
    parser.add_argument("file", help="corpus, model or run")
    parser.add_argument("--corpus", help="say what training the model on this corpus takes, and how large it should be")
    parser.add_argument("--steps", type=int, metavar="T", help="frames in a window, with --corpus (default: the run's)")
    parser.add_argument(
        "--batch-size", type=int, metavar="B", help="windows in a step, with --corpus (default: the run's)"
    )


def info(options: argparse.Namespace) -> None:
    """Prints a line for each property."""
    for name in ("steps", "batch_size"):
        if getattr(options, name) is not None:
            _checks.positive_int(name, getattr(options, name))
    path = source(model_file(options.file))
    with open(path, "rb") as file:
        is_corpus = file.read(4) == b"\x89HDF"
    if options.corpus and is_corpus:
        raise ValueError(f"`--corpus` goes with a model. Received: the corpus {str(path)!r} itself.")
    corpus = gl.Corpus(source(options.corpus)) if options.corpus else None
    head: _Rows = [("file", path), ("bytes", f"{path.stat().st_size:,}")]
    if is_corpus:
        _say_rows([*head, *_corpus_rows(gl.Corpus(path))])
        return
    model = gl.load(path)
    _say_rows([*head, *_model_rows(model)])
    if corpus is not None:
        steps, batch_size = _sizes(options, path.with_name("config.json"), model.encoder)
        _say_rows([("windows", f"{steps} steps, {batch_size} in a batch")])
        say(str(gl.models.describe(model, corpus, steps=steps, batch_size=batch_size)))


def _say_rows(rows: _Rows) -> None:
    for name, value in rows:
        say(f"{name:<16}{value}")


def _sizes(options: argparse.Namespace, config: Path, encoder: "Encoder") -> tuple[int, int]:
    """Returns steps and batch size as asked for, else as the run of the model has them, else the usual ones."""
    steps, batch_size = 40, 32
    windows: dict[str, Any]
    try:
        run = json.loads(config.read_text("utf-8")) if config.exists() else {}
        if recipe := run.get("recipe"):
            windows = dict(Recipe.from_dict(recipe).windows)
            steps, batch_size = windows["steps"], windows["batch_size"]
        elif windows := run.get("windows", {}):  # a script made this run
            steps, batch_size = (windows["span"] - encoder.lap) // encoder.hop - 1, windows["batch_size"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"The settings beside a model must be those of its run. Received: {str(config)!r}: {error!r}. Move the "
            "model into a folder of its own, and give `--steps` and `--batch-size`."
        ) from error
    return options.steps or steps, options.batch_size or batch_size


def _corpus_rows(corpus: "Corpus") -> _Rows:
    import h5py

    with h5py.File(corpus.file) as file:
        version = file.attrs.get("format_version", "unknown")
    return [
        ("what", f"corpus, format {version}"),
        ("tracks", len(corpus)),
        ("length", f"{clock(corpus.seconds)} ({corpus.seconds:.1f} s)"),
        ("sample rate", f"{corpus.sample_rate} Hz"),
        ("high-pass", f"{corpus.high_pass_hz} Hz" if corpus.high_pass_hz else "none"),
        *[
            ("", f"{clock(track.seconds):>8}  peak {track.peak:.2f}  {tempo_of(track)}  {track.name!r}")
            for track in corpus
        ],
    ]


def _model_rows(model: "AudioModel") -> _Rows:
    encoder, rate = model.encoder, model.sample_rate
    sizes = ", ".join(f"{k}={v}" for k, v in encoder.get_config().items() if isinstance(v, int | str) and k != "name")
    layers = " > ".join(
        f"{type(layer).__name__}({layer.units})" for layer in model.stack.layers if hasattr(layer, "units")
    )
    return [
        ("what", f"model, format {model.get_config()['format_version']}"),
        ("sample rate", f"{rate} Hz"),
        ("high-pass", f"{model.high_pass_hz} Hz" if model.high_pass_hz else "none"),
        ("encoder", f"{type(encoder).__name__}({sizes})"),
        ("frame", f"{encoder.features} numbers for {encoder.hop} samples ({1000 * encoder.hop / rate:.1f} ms)"),
        ("normalizer", type(model.normalizer).__name__),
        ("layers", layers),
        ("parameters", f"{model.stack.count_params():,}"),
    ]
