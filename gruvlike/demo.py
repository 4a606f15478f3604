"""The demo, `make demo`: from music, or a tune that it composes, to a song and its pictures, in some minutes."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import clock, run, say
from gruvlike.cli._options import reader
from gruvlike.cli._parser import Parser
from gruvlike.recipes import Assembly, Recipe
from gruvlike.recipes._sources import SOURCES

if TYPE_CHECKING:
    from gruvlike.corpus import Corpus

_SAMPLE_RATE = 16_000
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
    options = _parser().parse_args(arguments)
    return run(lambda: _demo(options), "What was made so far stays where it is.")


def _demo(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    if options.seconds is not None:
        _checks.number("seconds", options.seconds, 0, open_low=True)
    if options.music and not Path(options.music).exists():
        raise FileNotFoundError(f"There is no music {options.music!r}.")
    folder = _new_folder(options.out)
    corpus = _corpus(options.music, folder)
    assembly = _fitting(recipe, corpus).build(corpus)
    history, baselines = _train(recipe, folder, assembly)
    seed, song = _generate(options, folder, assembly)
    _draw(folder, corpus.sample_rate, seed, song, history, baselines)
    _report(folder, seed, song, history, baselines)


def _recipe(options: argparse.Namespace) -> Recipe:
    # A minute of music is too little to learn how each number of a frame varies; one scale for all does better there.
    return Recipe(
        encoder={"name": "block_dft", "block_size": options.block_size},
        normalizer={"name": "standardizer" if options.music else "global_scale"},
        network={"units": options.units},
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
    encoder = gl.BlockDFT(recipe.encoder["block_size"])
    grid = choose_grid(corpus.split(validation=share), encoder, steps=recipe.windows["steps"])
    return recipe.change(split={"validation": share}, windows={"steps": grid.steps, "hop": grid.hop})


def _corpus(music: str | Path | None, folder: Path) -> "Corpus":
    if music is None:
        say("Composing a tune of one minute ...")
        music = folder / "tune.wav"
        # Without the fade at its end: it is held out, and a seed that ends in silence would be continued by silence.
        gl.audio.write(music, gl.tune.compose(62, _SAMPLE_RATE)[: 60 * _SAMPLE_RATE], _SAMPLE_RATE)
    start = time.monotonic()
    corpus = gl.Corpus.build(music, folder / "corpus.h5", sample_rate=_SAMPLE_RATE)
    tracks = f"{len(corpus)} track{'s' * (len(corpus) > 1)}"
    say(f"Corpus: {tracks}, {clock(corpus.seconds)} at {_SAMPLE_RATE} Hz, read in {time.monotonic() - start:.1f} s.")
    return corpus


def _train(recipe: Recipe, folder: Path, assembly: Assembly) -> tuple[_History, _Losses]:
    from gruvlike.cli import _session

    model, windows, held_out = assembly[:3]
    encoder, rate = model.encoder, model.sample_rate
    steps = (windows.span - encoder.lap) // encoder.hop - 1
    say(
        f"Windows of {steps} blocks of {encoder.hop} samples ({steps * encoder.hop / rate:.1f} s), one every "
        f"{windows.hop / rate:.1f} s: {len(windows)} batches an epoch. {model.stack.count_params():,} parameters."
    )
    baselines = {"predicting the mean": 1.0, "repeating the last frame": model.baselines(held_out)["repeat"]}
    say("Validation loss to beat: " + ", ".join(f"{name} {loss:.3f}" for name, loss in baselines.items()) + ".")
    history = _session.train(model, windows, held_out, folder / "run.keras", minutes=recipe.minutes)
    return history, baselines


def _generate(options: argparse.Namespace, folder: Path, assembly: Assembly) -> tuple[np.ndarray, np.ndarray]:
    model, validation = assembly.model, assembly.validation or assembly.train
    longest = max(track.seconds for track in validation)
    seed = validation.excerpt(seconds=min(10, longest), random_seed=0)
    # The file that was saved makes the song: nothing else is needed to go on.
    generator = gl.Generator(gl.load(folder / "run.keras"))
    seconds = options.seconds or (30 if options.music else 10)
    start = time.monotonic()
    song = generator.extend(seed, seconds=seconds)
    say(f"Generated {seconds:g} s in {time.monotonic() - start:.1f} s, compilation included.")
    gl.audio.write(folder / "seed.wav", seed, model.sample_rate)
    gl.audio.write(folder / "song.wav", song, model.sample_rate)
    return seed, song


def _draw(folder: Path, rate: int, seed: np.ndarray, song: np.ndarray, history: _History, baselines: _Losses) -> None:
    from matplotlib.figure import Figure

    curves = Figure(figsize=(8, 4.5), layout="constrained", dpi=120)
    gl.plots.learning_curves(history, baselines, curves.subplots())
    curves.savefig(folder / "learning_curve.png")
    gl.plots.seed_and_song(seed, song, rate).savefig(folder / "seed_and_song.png")


def _report(folder: Path, seed: np.ndarray, song: np.ndarray, history: _History, baselines: _Losses) -> None:
    from gruvlike.metrics._levels import rms

    losses = {
        "training": history["relative_loss"][-1],
        "validation": history["val_relative_loss"][-1],
        **baselines,
    }
    say("Loss: " + ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items()) + ".")
    share = 100 * rms(song) / max(rms(seed), 1e-9)
    say(f"The song's level (RMS) is {share:.0f} % of the seed's.")
    if share < 50:
        say("It fades: plain regression predicts the average of what may come, and averages are quiet.")
    say(
        f"In {folder}/: song.wav (seed.wav goes before it), learning_curve.png, seed_and_song.png, "
        "run.keras (the model), corpus.h5."
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
        epilog="Example: python -m gruvlike.demo --music music/ --minutes 10 --units 300,300,300 --block-size 4000",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--music", help="folder of music or one file; without it, a tune is composed")
    add("--minutes", type=float, default=2.0, help="time to train")
    add(
        "--units",
        type=reader(SOURCES["network"].options()["units"]),
        default=(256,),
        metavar="W,W",
        help="widths of the recurrent layers",
    )
    add("--block-size", type=int, default=1000, metavar="N", help="samples in a block, at 16 kHz")
    add("--seconds", type=float, help="length of the song (30 with --music, else 10)")
    add("--out", default="demo", help="folder to make")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
