"""Which representation ticks? Six encoders, one width, the same training time; then their songs are measured.

    python benchmarks/ticks.py MUSIC_FOLDER

Writes the tables and pictures of docs/ticks.md. Each finished encoder is a row in runs/ticks/, so the script can be
interrupted and started again.
"""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from _page import DOCS, machine, table, write_block

import gruvlike as gl
from gruvlike._files import replacing
from gruvlike.callbacks import TimeLimit
from gruvlike.recipes import Recipe

SAMPLE_RATE = 16_000
HOP = 512  # 32 ms, the same for all encoders, so that all have as many frames a second
STEPS, BATCH_SIZE, UNITS = 80, 32, (400, 400)
SEEDS = 4
ENCODERS = {
    "TimeBlocks": {"name": "time_blocks", "block_size": HOP},
    "BlockDFT": {"name": "block_dft", "block_size": HOP},
    "HalfDFT": {"name": "half_dft", "block_size": HOP},
    "STFT": {"name": "stft", "frame_size": 2 * HOP, "hop": HOP},
    "MDCT": {"name": "mdct", "block_size": HOP},
    # Griffin-Lim needs more overlap than the others to find a phase.
    "LogSpectrum": {"name": "log_spectrum", "frame_size": 4 * HOP, "hop": HOP},
}
RECIPE = Recipe(
    network={"units": UNITS}, optimizer={"name": "adam"}, windows={"steps": STEPS, "batch_size": BATCH_SIZE}
)
log = logging.getLogger("ticks")


def train(name: str, corpus: gl.Corpus, folder: Path, minutes: float) -> dict[str, Any]:
    """Trains one model, saves it, and returns the figures that need no song."""
    model, windows, held_out, *_ = RECIPE.change(encoder=ENCODERS[name]).build(corpus)
    model.fit(windows, epochs=10_000, verbose=0, callbacks=[TimeLimit(minutes)])
    model.save(folder / f"{name}.keras")
    return {
        "encoder": name,
        "features a second": round(model.encoder.features * SAMPLE_RATE / model.encoder.hop),
        "parameters": model.stack.count_params(),
        "updates": int(model.optimizer.iterations.value),
        "validation loss": model.evaluate(held_out, verbose=0, return_dict=True)["relative_loss"],
        "repeating the last frame": model.baselines(held_out)["repeat"],
    }


def step_ms(model: gl.AudioModel, corpus: gl.Corpus, steps: int = 8) -> float:
    """Median time of a training step with its data at hand, compiled before. (The model is not saved after it.)"""
    batch = corpus.windows(model.encoder, steps=STEPS, batch_size=BATCH_SIZE)[0][0]["pcm"]
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        model.train_on_batch(batch)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def listen(name: str, corpus: gl.Corpus, folder: Path, seconds: float) -> dict[str, float]:
    """Returns measures of next frames predicted from real music, and of songs that continue held-out seeds."""
    model = gl.load(folder / f"{name}.keras")
    seeds, reference = held_out_sound(corpus)
    songs = gl.Generator(model).extend(seeds, seconds=seconds)
    gl.audio.write(folder / f"{name}.wav", songs[0], SAMPLE_RATE)
    predicted = predicted_sound(model, reference)
    return {
        "ms a step": step_ms(model, corpus),
        "predicted: tick ratio": gl.metrics.tick_ratio(predicted, HOP),
        "predicted: tick level (dB)": gl.metrics.tick_level_db(predicted, HOP),
        **measure(songs, seeds, reference),
    }


def predicted_sound(model: gl.AudioModel, music: np.ndarray, history: int | None = None) -> np.ndarray:
    """Each next frame, predicted from the true ones before it: the seams of a network that cannot freeze.

    `history` is how many frames it is shown: all for `None`, the last k for k, windows of k end to end for -k.
    """
    frames = np.asarray(model.normalizer(model.encoder.encode(music, padded=False)))[:-1]
    if history is None:
        predicted = model.stack.predict(frames[None], verbose=0)[0]
    elif history < 0:
        whole = frames[: len(frames) // -history * -history]
        predicted = model.stack.predict(whole.reshape(-1, -history, frames.shape[1]), verbose=0)
        predicted = predicted.reshape(whole.shape)
    else:
        shown = np.lib.stride_tricks.sliding_window_view(frames, history, axis=0).swapaxes(1, 2)
        predicted = np.concatenate([model.stack.predict_on_batch(batch)[:, -1] for batch in np.array_split(shown, 40)])
    return model.encoder.decode(np.asarray(model.normalizer.inverse(predicted)))


def measure(songs: np.ndarray, seeds: list[np.ndarray], reference: np.ndarray) -> dict[str, float]:
    """Returns mean measures of several songs: ticks at the seams, repetition, energy, distance from the music."""
    metrics = gl.metrics
    rows = [
        {
            "song: tick ratio": metrics.tick_ratio(song, HOP),
            "tick level (dB)": metrics.tick_level_db(song, HOP),
            "repetition": metrics.repetition(song, SAMPLE_RATE),
            "energy drift (dB)": metrics.energy_drift_db(song, seed),
            "log-spectral distance (dB)": metrics.log_spectral_distance(song, reference, aligned=False),
        }
        for song, seed in zip(songs, seeds, strict=True)
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def held_out_sound(corpus: gl.Corpus) -> tuple[list[np.ndarray], np.ndarray]:
    """Seeds of 10 s from the validation part, and a minute of it as reference."""
    _, validation = corpus.split(validation=0.1)
    seeds = [validation.excerpt(seconds=10, random_seed=number) for number in range(SEEDS)]
    reference = np.concatenate([validation.excerpt(seconds=10, random_seed=100 + number) for number in range(6)])
    return seeds, reference


def draw(name: str, corpus: gl.Corpus, folder: Path) -> None:
    """A third of a second on either side of the join, as a spectrogram fine enough to show each seam."""
    from matplotlib.figure import Figure

    seed = held_out_sound(corpus)[0][0]
    joined = gl.Generator(folder / f"{name}.keras").extend(seed, seconds=1, include_seed=True)

    around = SAMPLE_RATE // 3
    figure = Figure(figsize=(7, 2.6), dpi=80, layout="constrained")
    ax = figure.subplots()
    sound = joined[len(seed) - around : len(seed) + around]
    sound = sound / max(np.abs(sound).max(), 1e-9)
    _, _, _, image = ax.specgram(
        sound, NFFT=128, Fs=SAMPLE_RATE, noverlap=112, cmap="magma", scale="dB", vmin=-140, vmax=-50
    )
    image.set_rasterized(True)
    ax.axvline(around / SAMPLE_RATE, color="white", linewidth=1, linestyle=":")
    ax.set(title=f"{name}: seed | song", xlabel="seconds", ylabel="Hz")
    path = DOCS / "images" / f"ticks_{name}.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def restarted(generator: gl.Generator, seeds: list[np.ndarray], seconds: float) -> np.ndarray:
    """Returns songs of joined windows, each from zero states and one block, as before the other student's remedy."""
    songs = [np.stack(seeds)[:, -HOP:]]
    while sum(song.shape[1] for song in songs[1:]) < seconds * SAMPLE_RATE:
        songs.append(generator.extend(list(songs[-1][:, -HOP:]), steps=STEPS))
    return np.concatenate(songs[1:], axis=1)[:, : round(seconds * SAMPLE_RATE)]


def blog_questions(corpus: gl.Corpus, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """The same network with rectangular blocks, knowing more or less of the past."""
    model = gl.load(folder / "BlockDFT.keras")
    generator = gl.Generator(model)
    seeds, reference = held_out_sound(corpus)
    ways = {
        "state restarted at every window": (-STEPS, lambda: restarted(generator, seeds, seconds)),
        "state carried (equals the full history)": (None, lambda: generator.extend(seeds, seconds=seconds)),
        "sliding window, k = 40": (40, lambda: generator.extend(seeds, seconds=seconds, history=40)),
        "sliding window, k = 4": (4, lambda: generator.extend(seeds, seconds=seconds, history=4)),
    }
    rows = []
    for way, (history, make) in ways.items():
        predicted, songs = predicted_sound(model, reference, history), make()
        row = {
            "what it knows": way,
            "predicted: tick ratio": gl.metrics.tick_ratio(predicted, HOP),
            "predicted: tick level (dB)": gl.metrics.tick_level_db(predicted, HOP),
            "predicted: ratio at window seams": gl.metrics.tick_ratio(predicted, HOP * STEPS),
            **measure(songs, seeds, reference),
        }
        window_seams = np.mean([gl.metrics.tick_ratio(song, HOP * STEPS) for song in songs])
        rows.append(row | {"song: ratio at window seams": float(window_seams)})
    return rows


def rows_of(folder: Path, corpus: gl.Corpus, minutes: float, seconds: float) -> list[dict[str, Any]]:
    """A row an encoder; a model that was trained before is only listened to again."""
    rows = []
    for name in ENCODERS:
        file = folder / f"{name}.json"
        if not file.exists():
            log.info("%s: training for %g minutes", name, minutes)
            row = train(name, corpus, folder, minutes)
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(row))
            log.info("%s", row)
        rows.append(json.loads(file.read_text()) | listen(name, corpus, folder, seconds))
    seeds, reference = held_out_sound(corpus)
    music = {"encoder": "the held-out music itself", "predicted: tick ratio": gl.metrics.tick_ratio(reference, HOP)}
    music["predicted: tick level (dB)"] = gl.metrics.tick_level_db(reference, HOP)
    rows.append(music | measure(np.stack(seeds), seeds, reference))
    return rows


def as_table(rows: list[dict[str, Any]]) -> str:
    """Rows as markdown, three significant digits."""
    names = list(rows[0])

    def show(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    return table(names, [[show(row.get(name, "")) for name in names] for row in rows])


def main() -> None:
    """Trains the missing models, measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music")
    parser.add_argument("--minutes", type=float, default=4, help="training time of each encoder")
    parser.add_argument("--seconds", type=float, default=30, help="length of each song")
    parser.add_argument("--out", default="runs/ticks", help="where models, songs and rows are kept")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = gl.Corpus.build(options.music, folder / "music.h5", sample_rate=SAMPLE_RATE)
    rows = rows_of(folder, corpus, options.minutes, options.seconds)
    for name in ENCODERS:
        draw(name, corpus, folder)
    how = (
        f"`python benchmarks/ticks.py MUSIC_FOLDER`; {options.minutes:g} minutes of training each, LSTM "
        f"{' + '.join(map(str, UNITS))}, hop {HOP}, windows of {STEPS} frames, batch {BATCH_SIZE}; {SEEDS} songs of "
        f"{options.seconds:g} s; {machine()}."
    )
    write_block("ticks.md", "encoders", f"{how}\n\n{as_table(rows)}")
    write_block("ticks.md", "questions", as_table(blog_questions(corpus, folder, options.seconds)))


if __name__ == "__main__":
    main()
