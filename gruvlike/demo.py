"""The demo, `make demo`: from music, or a tune that it composes, to a song and its pictures, in some minutes."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gruvlike as gl
from gruvlike import _checks, recipes
from gruvlike.cli._console import clock, run, say
from gruvlike.cli._options import reader
from gruvlike.cli._parser import Formatter, Parser
from gruvlike.cli.beats import tempos_of
from gruvlike.recipes import Assembly, Recipe
from gruvlike.recipes._sources import SOURCES

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus

_SAMPLE_RATE = 16_000
_TUNE_SECONDS, _TUNE_END = 210, 30
_SEED_SECONDS, _LEAST_SEED = 8, 4
_LEAST_SONG = 4  # seconds that are measured
_PAGE_SEEDS = 2
_History = dict[str, list[float]]
_Losses = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Args:
        arguments: The words after `python -m gruvlike.demo`. None takes those of the process.

    Returns:
        The exit code: 0, 2 for an error of the user's, 130 after Ctrl-C.

    Example:
        >>> from gruvlike import demo
        >>> demo.main(["--music", "no_such_folder"])
        2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    options.words = words
    return run(lambda: _demo(options), "All that was made so far stays where it is.")


def _demo(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    _checks.number("seconds", options.seconds, 0, open_low=True)
    if options.music and not Path(options.music).exists():
        raise FileNotFoundError(f"There is no music {options.music!r}.")
    folder = _new_folder(options.out)
    corpus = _corpus(options.music, folder)
    recipe = _fitting(recipe, corpus)
    assembly = recipe.build(corpus)
    history, baselines = _train(recipe, folder, assembly)
    seed, song = _generate(options, folder, assembly)
    _draw(folder, corpus.sample_rate, seed, song, history, baselines)
    _report(folder, corpus.sample_rate, seed, song, history, baselines)
    command = shlex.join(["python", "-m", "gruvlike.demo", *options.words])
    _write_page(folder, assembly, history=history, baselines=baselines, settings=recipe.to_dict(), command=command)


def _recipe(options: argparse.Namespace) -> Recipe:
    network = {} if options.units is None else {"units": options.units}
    if options.recipe == "music":
        return recipes.get("music").change(network=network, minutes=options.minutes)
    # This recipe goes the way of 2015, in sizes for minutes. The tune is too short to learn how each number of a frame
    # varies; one scale for all does better there.
    return Recipe(
        encoder={"name": "block_dft", "block_size": 1000},
        normalizer={"name": "standardizer" if options.music else "global_scale"},
        network={"units": (256,), **network},
        optimizer={"name": "adam"},
        windows={"steps": 40, "batch_size": 32},
        epochs=None,
        minutes=options.minutes,
    )


def _fitting(recipe: Recipe, corpus: "Corpus") -> Recipe:
    """Returns the recipe with a split and windows that fit short music."""
    from gruvlike.windows import choose_grid

    # At least some seconds of short music must be held out, or there is nothing to judge by.
    share = min(max(0.1, 12 / corpus.seconds), 0.3)
    options = dict(recipe.encoder)
    parts = corpus.split(validation=share)
    grid = choose_grid(parts, gl.encoders.get(options.pop("name"), **options), steps=recipe.windows["steps"])
    longest = max(track.seconds for track in parts[1])
    if recipe.conditions["clock"] and longest < _LEAST_SEED:
        raise ValueError(
            f"A network that reads the beat needs held-out music of {_LEAST_SEED} s for a seed. Received: "
            f"{longest:.1f} s, of {corpus.seconds:.1f} s in all. Give more music, or `--recipe paper`."
        )
    return recipe.change(split={"validation": share}, windows={"steps": grid.steps, "hop": grid.hop})


def _corpus(music: str | Path | None, folder: Path) -> "Corpus":
    if music is None:
        say(f"Composing a tune of {clock(_TUNE_SECONDS)} minutes ...")
        music = folder / "tune.wav"
        # The tune is used without its ending, which would be held out. Silence would continue a seed that fades out.
        tune = gl.tune.compose(_TUNE_SECONDS + _TUNE_END, _SAMPLE_RATE)
        gl.audio.write(music, tune[: _TUNE_SECONDS * _SAMPLE_RATE], _SAMPLE_RATE)
    start = time.monotonic()
    corpus = gl.Corpus.build(music, folder / "corpus.h5", sample_rate=_SAMPLE_RATE)
    tracks = f"{len(corpus)} track{'s' * (len(corpus) > 1)}"
    say(
        f"Corpus: {tracks}, {clock(corpus.seconds)} at {_SAMPLE_RATE} Hz, read in {time.monotonic() - start:.1f} s; "
        f"{tempos_of(corpus)}."
    )
    return corpus


def _train(recipe: Recipe, folder: Path, assembly: Assembly) -> tuple[_History, _Losses]:
    from gruvlike.cli import _session

    model, windows, held_out = assembly[:3]
    encoder, rate = model.encoder, model.sample_rate
    steps = (windows.span - encoder.lap) // encoder.hop - 1
    say(
        f"Windows of {steps} frames of {encoder.hop} samples ({steps * encoder.hop / rate:.1f} s), one every "
        f"{windows.hop / rate:.1f} s: {len(windows)} batches an epoch. {model.stack.count_params():,} parameters."
    )
    baselines = {"predicting the mean": 1.0, "repeating the last frame": model.baselines(held_out)["repeat"]}
    say("Validation loss to beat: " + ", ".join(f"{name} {loss:.3f}" for name, loss in baselines.items()) + ".")
    budget = _session.Budget(minutes=recipe.minutes, decay=recipe.decay)
    history = _session.train(model, windows, held_out, folder / "run.keras", budget)
    return history, baselines


def _generate(options: argparse.Namespace, folder: Path, assembly: Assembly) -> tuple[np.ndarray, np.ndarray]:
    model, validation = assembly.model, assembly.validation or assembly.train
    longest = max(track.seconds for track in validation)
    seed = validation.excerpt(seconds=min(_SEED_SECONDS, longest), random_seed=0)
    # The file that was saved makes the song: nothing else is needed to go on.
    generator = gl.Generator(gl.load(folder / "run.keras"))
    start = time.monotonic()
    song = generator.extend(seed, seconds=options.seconds, pad_seed=True)
    say(f"Generated {options.seconds:g} s in {time.monotonic() - start:.1f} s, compilation included.")
    gl.audio.write(folder / "seed.wav", seed, model.sample_rate)
    gl.audio.write(folder / "song.wav", song, model.sample_rate)
    return seed, song


def _draw(folder: Path, rate: int, seed: np.ndarray, song: np.ndarray, history: _History, baselines: _Losses) -> None:
    from matplotlib.figure import Figure

    curves = Figure(figsize=(8, 4.5), layout="constrained", dpi=120)
    gl.plots.learning_curves(history, baselines, curves.subplots())
    curves.savefig(folder / "learning_curve.png")
    gl.plots.seed_and_song(seed, song, rate).savefig(folder / "seed_and_song.png")


def _report(folder: Path, rate: int, seed: np.ndarray, song: np.ndarray, history: _History, baselines: _Losses) -> None:
    from gruvlike.metrics._levels import rms

    losses = {
        "training": history["relative_loss"][-1],
        "validation": history["val_relative_loss"][-1],
        **baselines,
    }
    say("Loss: " + ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items()) + ".")
    level = rms(song) / max(rms(seed), 1e-9)
    say(f"The song's level (RMS) is {100 * level:.0f} % of the seed's.")
    if level < 0.5:
        say("It fades. A network that predicts the average of what may come does so: averages are quiet.")
    if min(len(seed), len(song)) >= _LEAST_SONG * rate:
        say(_measures(seed, song, rate))
    say(
        f"In {folder}/: song.wav (seed.wav goes before it), learning_curve.png, seed_and_song.png, "
        "run.keras (the model), corpus.h5."
    )


def _write_page(folder: Path, assembly: Assembly, **about: Any) -> None:
    """Writes the page to listen to, and says where it is."""
    from gruvlike.callbacks import _identity

    train, validation = assembly.train, assembly.validation or assembly.train
    run = gl.listening.Run(
        name=folder.name,
        model=assembly.model,
        held_out=validation,
        music=train,
        versions=_identity.versions(),
        **about,
    )
    file = folder / "listen.html"
    for note in gl.listening.write_page(file, [run], seeds=_PAGE_SEEDS):
        say(note)
    say(f"{file}: songs beside real music, a blind test, measures. Open it in a browser.")


def _measures(seed: np.ndarray, song: np.ndarray, rate: int) -> str:
    """Returns a line with measures of the song beside those of its seed."""
    beat = gl.rhythm.tempo(seed, rate).beat_seconds
    pattern = gl.metrics.rhythm_pattern(seed, rate, beat)
    own = gl.metrics.rhythm_similarity(pattern, gl.metrics.rhythm_pattern(song, rate, beat, len(seed) / rate))
    pulse, usual_pulse = (gl.metrics.pulse(sound, rate) for sound in (song, seed))
    flux, usual_flux = (gl.metrics.flux(sound, rate) for sound in (song, seed))
    return (
        f"Pulse {pulse:.2f} (seed {usual_pulse:.2f}; 0.1: no beat), own rhythm {own:.2f} (1: that of the seed), flux "
        f"{flux:.2f} dB (seed {usual_flux:.2f}; 0: frozen)."
    )


def _new_folder(name: str) -> Path:
    """Makes the folder, or name-2, name-3, ...: the files of an earlier run are never touched."""
    folder, number = Path(name), 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = Path(f"{name.rstrip('/')}-{number}")
    folder.mkdir(parents=True, exist_ok=True)
    if number > 1:
        say(f"{name} holds something already; this run goes to {folder}.")
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m gruvlike.demo",
        description="From music to a song in some minutes. Nothing that exists is overwritten.",
        epilog="Example: python -m gruvlike.demo --music music/ --minutes 10",
        formatter_class=Formatter,
    )
    add = parser.add_argument
    add("--music", help="folder of music or one file; without it, a tune is composed")
    add("--minutes", type=float, default=2.0, help="time to train")
    add("--recipe", choices=("music", "paper"), default="music", help="paper: the way of 2015, in small")
    units = reader(SOURCES["network"].options()["units"])
    add("--units", type=units, metavar="W,W", help="widths of the recurrent layers (default: those of the recipe)")
    add("--seconds", type=float, default=20.0, help="length of the song")
    add("--out", default="demo", help="folder to make")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
