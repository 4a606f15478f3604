"""The main job on real music, measured: corpus, training, a song; and the time of an import. Writes docs/measured.md.

    python benchmarks/spine.py MUSIC_FOLDER

An LSTM 3 x 300 on blocks of 4000 samples at 16 kHz, windows of 40 steps, ten minutes of training.
"""

from __future__ import annotations  # naming gl.AudioModel must not import Keras before memory is measured

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _page import machine, table, write_block

import gruvlike as gl

SAMPLE_RATE = 16_000


def build(music: str, folder: Path) -> tuple[gl.Corpus, list[tuple[str, str]]]:
    """Builds the corpus; returns it, and rows of time and memory. Run it first: later peaks of memory are higher."""
    start = time.perf_counter()
    corpus = gl.Corpus.build(music, folder / "music.h5", sample_rate=SAMPLE_RATE)
    took = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    size = (folder / "music.h5").stat().st_size / 1e6
    return corpus, [
        ("music", f"{len(corpus)} tracks, {corpus.seconds / 60:.1f} min, to {SAMPLE_RATE} Hz mono"),
        ("`Corpus.build`", f"{took:.1f} s, {corpus.seconds / took:.0f} times as fast as it plays"),
        ("the corpus", f"{size:.1f} MB, {size * 1e6 / (corpus.seconds * SAMPLE_RATE):.2f} bytes a sample"),
        ("peak memory", f"{peaks[0]:.0f} MB (of the largest worker, if any: {peaks[1]:.0f} MB)"),
    ]


def train(corpus: gl.Corpus, folder: Path, minutes: float) -> tuple[gl.AudioModel, gl.Corpus, list[tuple[str, str]]]:
    """Trains for `minutes`; returns the model, the validation music, and rows of losses."""
    from gruvlike.callbacks import TimeLimit

    recipe = gl.recipes.Recipe(
        encoder={"name": "block_dft", "block_size": 4000},
        network={"units": (300, 300, 300)},
        optimizer={"name": "adam"},
        windows={"steps": 40, "batch_size": 32},
    )
    model, windows, held_out, _, validation, _ = recipe.build(corpus)
    start = time.perf_counter()
    history = model.fit(
        windows, validation_data=held_out, epochs=10_000, verbose=2, callbacks=[TimeLimit(minutes)]
    ).history
    took = time.perf_counter() - start
    model.save(folder / "run.keras")
    best = int(np.argmin(history["val_relative_loss"]))
    losses = [history[name][-1] for name in ("relative_loss", "val_relative_loss")]
    gl.plots.learning_curves(history, {"predicting the mean": 1.0}).figure.savefig(folder / "learning_curve.png")
    return (
        model,
        validation,
        [
            (
                "training",
                f"{len(history['loss'])} epochs in {took / 60:.1f} min, {len(windows)} batches of 32 an epoch",
            ),
            ("training loss", f"{losses[0]:.3f} of that of predicting the mean"),
            (
                "validation loss",
                f"{losses[1]:.3f} (lowest: {history['val_relative_loss'][best]:.3f}, epoch {best + 1})",
            ),
            ("predicting the mean", "1.000"),
            ("repeating the last frame", f"{model.baselines(held_out)['repeat']:.3f}"),
        ],
    )


def generate(validation: gl.Corpus, folder: Path) -> list[tuple[str, str]]:
    """Continues a held-out seed of 10 s by 30 s, from the saved file; returns rows about the song."""
    generator = gl.Generator(gl.load(folder / "run.keras"))
    seed = validation.excerpt(seconds=10, random_seed=0)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        song = generator.extend(seed, seconds=30)
        times.append(time.perf_counter() - start)
    gl.audio.write(folder / "song.wav", song, generator.sample_rate)
    gl.plots.seed_and_song(seed, song, generator.sample_rate).savefig(folder / "seed_and_song.png")
    rms = [
        float(np.sqrt(np.mean(np.square(part)))) for part in (seed, song, song[: len(song) // 6], song[-len(seed) :])
    ]
    return [
        ("a song of 30 s", f"{times[0]:.2f} s with compilation, {times[1]:.2f} s the second time"),
        ("RMS of the seed", f"{rms[0]:.4f}"),
        ("RMS of the song", f"{rms[1]:.4f}, {100 * rms[1] / rms[0]:.1f} % of the seed's"),
        ("its first 5 s, its last 10 s", f"{100 * rms[2] / rms[0]:.1f} %, {100 * rms[3] / rms[0]:.1f} %"),
        ("finite", "yes" if np.isfinite(song).all() else "NO"),
    ]


def start_up() -> list[tuple[str, str]]:
    """Returns rows for `import gruvlike` and `gruvlike --help`, whole processes, medians of five."""

    def median(*command: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times)

    python = median("-c", "pass")
    return [
        ("`import gruvlike`", f"{median('-c', 'import gruvlike') - python:.0f} ms (a bare Python: {python:.0f} ms)"),
        ("`gruvlike --help`", f"{median('-m', 'gruvlike', '--help'):.0f} ms"),
    ]


def main() -> None:
    """Runs everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", help="where corpus, model, song and pictures stay (default: nowhere)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.out or temporary)
        os.makedirs(folder, exist_ok=True)
        corpus, rows = build(options.music, folder)
        _, validation, losses = train(corpus, folder, options.minutes)
        rows += losses + generate(validation, folder) + start_up()
    text = f"`python benchmarks/spine.py MUSIC_FOLDER`; {machine()}.\n\n{table(('what', 'measured'), rows)}"
    write_block("measured.md", "spine", text)
    logging.info(text)


if __name__ == "__main__":
    main()
