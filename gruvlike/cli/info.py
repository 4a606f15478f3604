"""`gruvlike info`: the contents of a corpus or a model."""

import argparse
import json
from collections.abc import Mapping
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
    parser.add_argument("--verify", action="store_true", help="compare the music of a corpus with its checksums")
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
    _check_options(options, path, is_corpus)
    corpus = gl.Corpus(source(options.corpus)) if options.corpus else None
    head: _Rows = [("file", path), ("bytes", f"{path.stat().st_size:,}")]
    if is_corpus:
        opened = gl.Corpus(path)
        _say_rows([*head, *_corpus_rows(opened)])
        if options.verify:
            _say_rows([("checksums", _verified(opened))])
        return
    model = gl.load(path)
    _say_rows([*head, *_model_rows(model)])
    if corpus is not None:
        steps, batch_size = _sizes(options, path.with_name("config.json"), model.encoder)
        _say_rows([("windows", f"{steps} steps, {batch_size} in a batch")])
        say(str(gl.models.describe(model, corpus, steps=steps, batch_size=batch_size)))


def _check_options(options: argparse.Namespace, path: Path, is_corpus: bool) -> None:
    """Raises if an option was given that has no effect."""
    if options.corpus and is_corpus:
        raise ValueError(f"`--corpus` goes with a model. Received: the corpus {str(path)!r} itself.")
    if options.verify and not is_corpus:
        raise ValueError(f"`--verify` goes with a corpus. Received: {str(path)!r}, which is none. Leave it out.")
    for name in ("steps", "batch_size"):
        if getattr(options, name) is not None and not options.corpus:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"`{flag}` goes with `--corpus`. Received: {flag} {getattr(options, name)} alone.")


def _verified(corpus: "Corpus") -> str:
    """Returns words on the checksums of a corpus; raises if one differs."""
    unknown = corpus.verify()
    words = f"those of {len(corpus) - len(unknown)} tracks agree"
    return f"{words}; {len(unknown)} of an older version have none: build again onto the file" if unknown else words


def _say_rows(rows: _Rows) -> None:
    for name, value in rows:
        say(f"{name:<16}{value}")


def _sizes(options: argparse.Namespace, config: Path, encoder: "Encoder") -> tuple[int, int]:
    """Returns steps and batch size as asked for, else as the run of the model has them, else the usual ones."""
    steps, batch_size = _sizes_of_run(config, encoder) if config.is_file() else (40, 32)
    return options.steps or steps, options.batch_size or batch_size


def _sizes_of_run(config: Path, encoder: "Encoder") -> tuple[int, int]:
    try:
        run = json.loads(config.read_text("utf-8"))
        if recipe := run.get("recipe"):
            windows: Mapping[str, Any] = Recipe.from_dict(recipe).windows
            return _positive(windows["steps"], windows["batch_size"])
        if windows := run.get("windows", {}):  # a script made this run
            return _positive((windows["span"] - encoder.lap) // encoder.hop - 1, windows["batch_size"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"The settings of a run must be whole. Received: {str(config)!r}, which is damaged: {error}. "
            "Give --steps and --batch-size with a copy of the model elsewhere."
        ) from error
    return 40, 32


def _positive(steps: object, batch_size: object) -> tuple[int, int]:
    return _checks.positive_int("steps", steps), _checks.positive_int("batch_size", batch_size)


def _corpus_rows(corpus: "Corpus") -> _Rows:
    return [
        ("what", f"corpus, format {corpus.format_version}"),
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
