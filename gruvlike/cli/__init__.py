"""The command line, `gruvlike prepare | train | generate | measure | info | doctor`: thin over the public API.

A user's error ends with exit code 2 and one line, Ctrl-C with 130. Keras is imported where it is needed.
"""

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import clock, run, say

# What takes `block_size`; the encoders with other sizes are for scripts.
_ENCODERS = ("block_dft", "half_dft", "mdct", "time_blocks")
_NORMALIZERS = {
    "standardizer": "Standardizer",
    "global_scale": "GlobalScale",
    "min_max": "MinMax",
    "identity": "Identity",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after `gruvlike`. None takes those of the process.

    Returns:
        The exit code: 0, 2 for an error of the user's, 130 after Ctrl-C.

    Example:
        >>> from gruvlike import cli
        >>> cli.main(["info", "no_such_file.keras"])
        2
    """
    options = _parser().parse_args(arguments)
    return run(lambda: options.command(options), options.interrupted)


# --- commands ---------------------------------------------------------------------------------------------------------


def _prepare(options: argparse.Namespace) -> None:
    file = _target(options.file, options.overwrite)
    high_pass_hz = options.high_pass_hz or None
    corpus = gl.Corpus.build(
        options.music, file, sample_rate=options.sample_rate, high_pass_hz=high_pass_hz, strict=options.strict
    )
    say(f"{file}: {len(corpus)} tracks, {clock(corpus.seconds)}, {corpus.sample_rate} Hz")


def _train(options: argparse.Namespace) -> None:
    directory = _run_folder(options.run)
    _checks.positive_int("random_seed", options.random_seed, minimum=0)
    _checks.positive_int("epochs", 50 if options.epochs is None else options.epochs)
    if options.learning_rate is not None:
        _checks.number("learning_rate", options.learning_rate, 0, open_low=True)
    corpus = gl.Corpus(_source(options.corpus))
    import keras

    from gruvlike import callbacks
    from gruvlike.callbacks import _summary
    from gruvlike.cli import _session

    keras.utils.set_random_seed(options.random_seed)
    train, validation, test = _split(corpus, options.validation, options.test)
    block_size = round(corpus.sample_rate / 4) if options.block_size is None else options.block_size
    encoder = gl.encoders.get(options.encoder, block_size=block_size)
    sizes = {"steps": options.steps, "batch_size": options.batch_size, "hop": options.hop}
    windows = train.windows(encoder, **sizes, random_seed=options.random_seed)
    held_out = None if validation is None else _held_out(validation, encoder, sizes)
    model = _model(options, train, encoder)
    say(f"{model.count_params():,} parameters, {len(windows)} batches an epoch")
    notes = {name: value for name, value in vars(options).items() if name not in ("command", "interrupted")}
    watching = callbacks.run_callbacks(
        directory, patience=options.patience, preview_every=options.preview_every, test=test, notes=notes
    )
    epochs = 50 if options.epochs is None and options.minutes is None else options.epochs
    _session.fit(model, windows, held_out, watching, epochs, options.minutes)
    for guard in watching:
        if getattr(guard, "reason", None):
            raise ValueError(guard.reason)
    if summary := _summary.write_summary(directory):
        say(summary)
    say(f"model: {_model_file(directory)}")


def _run_folder(name: str) -> Path:
    directory = Path(name)
    if directory.suffix == ".keras":
        raise ValueError(
            f"A run is a folder, with the models and all about them. Received: {name!r}. Name a folder, such as "
            f"{str(directory.with_suffix(''))!r}."
        )
    return directory


def _split(corpus: Any, validation: float, test: float) -> tuple[Any, Any, Any]:
    if not validation:
        if test:
            raise ValueError(f"Music for a test needs music for validation beside it. Received: --test {test}.")
        return corpus, None, None
    train, held_out, *rest = corpus.split(validation=validation, test=test)
    return train, held_out, rest[0] if rest else None


def _held_out(validation: Any, encoder: Any, sizes: dict[str, Any]) -> Any:
    try:
        return validation.windows(encoder, **sizes, shuffle=False, offset=0)
    except ValueError as error:
        raise ValueError(f"The music held out for validation is too short. {error} Or hold out more.") from error


def _model(options: argparse.Namespace, train: Any, encoder: Any) -> Any:
    normalizer = getattr(gl, _NORMALIZERS[options.normalizer])().fit(train, encoder)
    stack = gl.recurrent_stack(
        encoder.features,
        cell=options.cell,
        units=(1024,) if options.units is None else options.units,
        projection=_projection(options),
        dropout=options.dropout,
        input_dropout=options.input_dropout,
        input_noise=options.input_noise,
        random_seed=options.random_seed,
    )
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=train.sample_rate, high_pass_hz=train.high_pass_hz)
    model.compile(options.optimizer)
    if options.learning_rate is not None:
        model.optimizer.learning_rate = options.learning_rate
    return model


def _projection(options: argparse.Namespace) -> int | None:
    """The paper's network has a linear layer in front; a network that one chooses oneself has none unless asked for."""
    if options.projection is None:
        return 1024 if options.units is None else None
    return options.projection or None


def _generate(options: argparse.Namespace) -> None:
    file = Path(options.song)
    names = [file] if options.clips == 1 else [file.with_stem(f"{file.stem}-{k + 1}") for k in range(options.clips)]
    names = [_target(name, options.overwrite) for name in names]
    gl.audio._format(file, None)  # refuses a suffix that cannot be written
    model = _source(_model_file(options.model))
    _source(options.seed)
    generator = gl.Generator(gl.load(model))
    songs = generator.extend(
        options.seed,
        seconds=options.seconds,
        history=options.history,
        include_seed=options.include_seed,
        clips=options.clips,
    )
    for name, song in zip(names, songs.reshape(len(names), -1), strict=True):
        gl.audio.write(name, song, generator.sample_rate)
        say(f"{name}: {song.size / generator.sample_rate:.1f} s at {generator.sample_rate} Hz")


def _measure(options: argparse.Namespace) -> None:
    _source(options.song)
    say(str(gl.metrics.report(options.song, options.reference, hop=options.hop)))


def _info(options: argparse.Namespace) -> None:
    path = _source(_model_file(options.file))
    with open(path, "rb") as file:
        is_corpus = file.read(4) == b"\x89HDF"
    if options.corpus and is_corpus:
        raise ValueError(f"`--corpus` goes with a model. Received: the corpus {str(path)!r} itself.")
    corpus = gl.Corpus(_source(options.corpus)) if options.corpus else None
    model = None if is_corpus else gl.load(path)
    rows = _corpus_rows(gl.Corpus(path)) if is_corpus else _model_rows(model)
    for name, value in [("file", path), ("bytes", f"{path.stat().st_size:,}"), *rows]:
        say(f"{name:<16}{value}")
    if corpus is not None:
        steps, batch_size = _sizes(options, path.with_name("config.json"), model.encoder)
        say(f"{'windows':<16}{steps} steps, {batch_size} in a batch")
        say(str(gl.models.describe(model, corpus, steps=steps, batch_size=batch_size)))


def _sizes(options: argparse.Namespace, config: Path, encoder: Any) -> tuple[int, int]:
    """Returns steps and batch size as asked for, else as the run of the model has them, else the usual ones."""
    windows = json.loads(config.read_text("utf-8")).get("windows", {}) if config.exists() else {}
    steps = (windows["span"] - encoder.lap) // encoder.hop - 1 if "span" in windows else 40
    batch_size = windows.get("batch_size", 32)
    given = options.steps, options.batch_size
    return tuple(usual if value is None else value for value, usual in zip(given, (steps, batch_size), strict=True))


def _doctor(options: argparse.Namespace) -> None:
    from gruvlike.cli._examine import examine

    examine(options.music, options.seconds)


def _model_file(path: str | Path) -> Path:
    """Returns the model of a run, the best one if there is one; a file is itself."""
    path = Path(path)
    if path.is_dir():
        names = [path / f"{name}.keras" for name in ("best", "newest", "previous")]
        path = next((name for name in names if name.exists()), None)
        if path is None:
            raise FileNotFoundError(f"There is no model in the folder {str(names[0].parent)!r}. Is it a run?")
    return path


def _corpus_rows(corpus: Any) -> list[tuple[str, Any]]:
    import h5py

    with h5py.File(corpus.file) as file:
        version = file.attrs.get("format_version", "unknown")
    return [
        ("what", f"corpus, format {version}"),
        ("tracks", len(corpus)),
        ("length", f"{clock(corpus.seconds)} ({corpus.seconds:.1f} s)"),
        ("sample rate", f"{corpus.sample_rate} Hz"),
        ("high-pass", f"{corpus.high_pass_hz} Hz" if corpus.high_pass_hz else "none"),
        *[("", f"{clock(track.seconds):>8}  peak {track.peak:.2f}  {track.name!r}") for track in corpus],
    ]


def _model_rows(model: Any) -> list[tuple[str, Any]]:
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


def _source(path: str | Path) -> Path:
    """Returns `path` if there is such a file, before seconds are spent on loading Keras."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    return Path(path)


def _target(path: str | Path, overwrite: bool) -> Path:
    """Returns `path` if it may be written, before hours are spent on what goes into it."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name!r} in. Make it first.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{str(path)!r} exists. Give another name, or --overwrite.")
    return path


# --- arguments --------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gruvlike",
        description="Music with recurrent networks, block by block.",
        epilog="Example: gruvlike prepare music/ music.h5 && gruvlike train music.h5 runs/a --minutes 10 && "
        "gruvlike generate runs/a seed.wav song.wav",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"gruvlike {gl.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (_add_prepare, _add_train, _add_generate, _add_measure, _add_info, _add_doctor):
        add(commands)
    return parser


def _command(
    commands: Any, run: Any, help: str, example: str, interrupted: str = "Nothing was written."
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        run.__name__.strip("_"),
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"Example: gruvlike {example}",
        formatter_class=_Formatter,
    )
    parser.set_defaults(command=run, interrupted=interrupted)
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not where there is none to speak of, and leaves options whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _add_prepare(commands: Any) -> None:
    parser = _command(
        commands,
        _prepare,
        "turn a folder of music into a corpus, one HDF5 file",
        "prepare music/ music.h5 --sample-rate 16000",
        "The corpus file is as it was; the same command goes on from here.",
    )
    parser.add_argument("music", help="folder of music, or one file")
    parser.add_argument("file", help="corpus to write, such as music.h5")
    parser.add_argument(
        "--sample-rate", type=int, default=44_100, metavar="HZ", help="of the corpus; the paper's is 44100"
    )
    parser.add_argument(
        "--high-pass-hz", type=float, default=20.0, metavar="HZ", help="removes what is below; 0 keeps it"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first file that cannot be used")
    _add_overwrite(parser, "replace an existing corpus; tracks that have not changed are taken over from it")


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        _train,
        "train a model on a corpus, or go on with a run that was interrupted",
        "train music.h5 runs/a --block-size 4000 --units 300,300,300 --minutes 10",
        "Training had not begun; the run folder is as it was.",
    )
    add = parser.add_argument
    add("corpus", help="file that `gruvlike prepare` wrote")
    add("run", help="folder for the run, such as runs/a; the same command again goes on where it was")
    add("--encoder", choices=_ENCODERS, default="block_dft", help="what a frame is; the paper's is block_dft")
    add("--block-size", type=int, metavar="N", help="samples in a block (default: a quarter of a second, as in 2015)")
    add(
        "--normalizer",
        choices=sorted(_NORMALIZERS),
        default="standardizer",
        help="scaling; the paper's is standardizer",
    )
    add("--steps", type=int, default=40, metavar="T", help="frames in a window, as in the paper")
    add("--hop", type=int, metavar="SAMPLES", help="from one window to the next (default: no overlap)")
    add("--batch-size", type=int, default=5, metavar="B", help="windows in a step of training, as in 2015")
    add("--cell", choices=("lstm", "gru"), default="lstm", help="kind of recurrent layer")
    add("--units", type=widths, metavar="W,W", help="widths of the recurrent layers (default: 1024, as in 2015)")
    add("--projection", type=int, metavar="W", help="linear layer in front; 0 for none (default: 1024 without --units)")
    add("--dropout", type=float, default=0.0, metavar="SHARE", help="after each recurrent layer")
    add("--input-dropout", type=float, default=0.0, metavar="SHARE", help="of the numbers of a frame")
    add("--input-noise", type=float, default=0.0, metavar="STD", help="Gaussian noise on the frame")
    add("--optimizer", default="rmsprop", help="name of a Keras optimizer; the paper's is rmsprop")
    add("--learning-rate", type=float, metavar="RATE", help="(default: the optimizer's)")
    add("--epochs", type=int, help="times through the music (default: 50, or as many as --minutes allow)")
    add("--minutes", type=float, help="train at most this long")
    add("--validation", type=float, default=0.1, metavar="SHARE", help="of the music held out; 0 for none")
    add("--test", type=float, default=0.0, metavar="SHARE", help="of the music set aside, untouched by training")
    add("--patience", type=int, metavar="EPOCHS", help="stop when the validation loss has not fallen for so long")
    add("--preview-every", type=int, default=5, metavar="EPOCHS", help="from one preview to the next; 0 for none")
    add("--random-seed", type=int, default=0, metavar="K", help="makes the run repeatable")


def _add_generate(commands: Any) -> None:
    parser = _command(
        commands,
        _generate,
        "continue a seed, the opening bars, into a song",
        "generate runs/a seed.wav song.wav --seconds 30 --include-seed",
    )
    add = parser.add_argument
    add("model", help="run that `gruvlike train` made (its best model), or one of its files")
    add("seed", help="audio file to continue, any format and sample rate")
    add("song", help="audio file to write, such as song.wav")
    add("--seconds", type=float, default=30.0, help="length of the song")
    add("--include-seed", action="store_true", help="put the seed before the song")
    add(
        "--history",
        type=_history,
        default="carry",
        metavar="carry|full|K",
        help="what a frame is predicted from: the carried state, the whole past again (as in 2015: the same song, "
        "slowly), or the last K frames",
    )
    add("--clips", type=int, default=1, metavar="K", help="songs to make at once: song-1.wav, song-2.wav, ...")
    _add_overwrite(parser, "replace an existing song")


def _add_measure(commands: Any) -> None:
    parser = _command(
        commands, _measure, "measure a song against real music", "measure song.wav --reference music/ --hop 4000"
    )
    parser.add_argument("song", help="audio file")
    parser.add_argument("--reference", required=True, help="music to compare with: a file, a folder or a corpus")
    parser.add_argument("--hop", type=int, default=4000, metavar="SAMPLES", help="block size of the model")


def _add_info(commands: Any) -> None:
    parser = _command(commands, _info, "say what a corpus or a model holds", "info runs/a")
    parser.add_argument("file", help="corpus, model or run")
    parser.add_argument("--corpus", help="say what training the model on this corpus takes, and how large it should be")
    parser.add_argument("--steps", type=int, metavar="T", help="frames in a window, with --corpus (default: the run's)")
    parser.add_argument(
        "--batch-size", type=int, metavar="B", help="windows in a step, with --corpus (default: the run's)"
    )


def _add_doctor(commands: Any) -> None:
    parser = _command(
        commands,
        _doctor,
        "check the installation, and whether a small model can learn one clip; do so when only noise comes out",
        "doctor music/",
    )
    parser.add_argument("music", nargs="?", help="folder of music, or one file; without it, a tune is composed")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for learning, at most")


def _add_overwrite(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--overwrite", action="store_true", help=help)


def widths(text: str) -> tuple[int, ...]:
    """Returns the widths of layers that `text` lists, such as "300,300,300"."""
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"widths are integers with commas, such as 300,300,300, not {text!r}"
        ) from None


def _history(text: str) -> str | int:
    if text in ("carry", "full"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"carry, full or a number of frames, not {text!r}")


if __name__ == "__main__":
    raise SystemExit(main())
