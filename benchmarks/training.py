"""Training one can trust, measured: kills, overhead, learning curves, what lowers the free-running loss.

    python benchmarks/training.py kills
    python benchmarks/training.py overhead
    python benchmarks/training.py curve MUSIC_FOLDER
    python benchmarks/training.py options MUSIC_FOLDER

Each writes its part of docs/training.md. Everything goes on where it was when it is started again with the same --out.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from _page import DOCS, machine, table, write_block

import gruvlike as gl

PAGE = "training.md"
RATE = 16_000
HORIZONS = (1, 2, 5, 10, 40)
OPTIONS = {
    "none": ({}, {}),
    "input noise 0.1": ({"input_noise": 0.1}, {}),
    "scheduled sampling 0.25": ({}, {"scheduled_sampling": 0.25, "sampling_updates": 500}),
    "rollout of 5 frames": ({}, {"rollout_steps": 5}),
}


# --- kills ------------------------------------------------------------------------------------------------------------


def kills(options: argparse.Namespace) -> None:
    """Kills a real process at random moments, goes on, and compares the end with an undisturbed run."""
    folder = Path(options.out) / "kills"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gl.audio.write(folder / "tune.wav", gl.tune.compose(20, 8000), 8000)
    gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=8000)
    words = ["--block-size=100", "--units=32", "--steps=10", "--dropout=0.2", "--input-noise=0.1", "--preview-every=5"]
    words = [*words, f"--epochs={options.epochs}", f"{folder}/music.h5"]
    dice, rows, since = random.Random(0), [], "the beginning"
    for number in range(1, options.kills + 1):
        process = _start([*words, f"{folder}/killed"])
        moment = dice.uniform(0, options.seconds)
        time.sleep(moment)
        done = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until = _place(folder / "killed")
        rows.append((number, "was done already" if done else f"{moment:.2f}", since, until))
        since = until
    for name in ("killed", "undisturbed"):
        process = _start([*words, f"{folder}/{name}"])
        process.communicate()
    ends = [_about(folder / name) for name in ("killed", "undisturbed")]
    histories = [(folder / name / "history.csv").read_text() for name in ("killed", "undisturbed")]
    is_same = ends[0]["checksum"] == ends[1]["checksum"] and histories[0] == histories[1]
    verdict = (
        f"After {options.kills} kills, the finished run of {options.epochs} epochs and an undisturbed one have "
        f"**{'the same' if is_same else 'DIFFERENT'}** weights, optimizer, random states (checksums "
        f"{ends[0]['checksum']:08x} and {ends[1]['checksum']:08x}) and history."
    )
    text = table(("kill", "seconds into training", "went on from", "newest checkpoint then"), rows)
    write_block(PAGE, "kills", f"`python benchmarks/training.py kills`; {machine()}.\n\n{text}\n\n{verdict}")
    if not is_same:
        raise SystemExit(verdict)


def _start(words: list[str]) -> subprocess.Popen:
    """Starts `gruvlike train` and waits until it is about to train."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gruvlike", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if "parameters" in line:
            return process
    raise SystemExit("`gruvlike train` did not start")


def _about(run: Path) -> dict:
    for name in ("newest.keras", "previous.keras"):  # the kill can come between the two moves that change them
        if (run / name).exists():
            with zipfile.ZipFile(run / name) as archive:
                return json.loads(archive.read("training.json"))
    return {"progress": {"epoch": 0, "batch": 0}}


def _place(run: Path) -> str:
    progress = _about(run)["progress"]
    return f"epoch {progress['epoch']}" + (f", batch {progress['batch']}" if progress["batch"] else "")


# --- overhead ---------------------------------------------------------------------------------------------------------


def overhead(options: argparse.Namespace) -> None:
    """The time that the callbacks of a run take within epochs of about a minute, by callback."""
    import keras

    folder = Path(options.out) / "overhead"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gl.audio.write(folder / "tune.wav", gl.tune.compose(options.seconds, RATE), RATE)
    corpus = gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=RATE)
    train, validation = corpus.split(validation=0.1)
    model = _model(train)
    windows = train.windows(model.encoder, steps=40, hop=options.hop)
    held_out = validation.windows(model.encoder, steps=40, shuffle=False, offset=0)
    callbacks = gl.callbacks.run_callbacks(folder / "run")
    spent = {type(callback).__name__: 0.0 for callback in callbacks}
    for callback in callbacks:
        _clock(callback, spent)
    times = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: times.append(-time.perf_counter()),
        on_epoch_end=lambda *_: times.append(time.perf_counter()),
    )
    model.fit(windows, validation_data=held_out, epochs=options.epochs, verbose=2, callbacks=[*callbacks, note])
    epoch = sum(times) / (len(times) / 2)
    rows = [
        (f"`{name}`", f"{1000 * one / options.epochs:.0f} ms", f"{100 * one / options.epochs / 60:.2f} %")
        for name, one in spent.items()
    ]
    total = sum(spent.values()) / options.epochs
    rows.append(("**all together**", f"{1000 * total:.0f} ms", f"**{100 * total / 60:.2f} %**"))
    text = (
        f"`python benchmarks/training.py overhead`; {machine()}. Mean of {options.epochs} epochs of {epoch:.0f} s, "
        f"{len(windows)} batches each, {model.count_params():,} parameters, Adam; previews and the free-running loss "
        "after every fifth epoch. What is asked for once a run (baselines, a look at the music) is not counted.\n\n"
        f"{table(('callback', 'time an epoch', 'share of an epoch of 60 s'), rows)}"
    )
    write_block(PAGE, "overhead", text)


def _clock(callback: object, spent: dict[str, float]) -> None:
    """Counts the time in the methods that Keras calls during an epoch."""
    name = type(callback).__name__

    def clocked(method):
        def run(*args, **kwargs):
            start = time.perf_counter()
            method(*args, **kwargs)
            spent[name] += time.perf_counter() - start

        return run

    for event in ("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"):
        setattr(callback, event, clocked(getattr(callback, event)))


# --- on music ---------------------------------------------------------------------------------------------------------


def curve(options: argparse.Namespace) -> None:
    """Learning curves of time-domain blocks of 0.125 s, LSTM 3 x 300, with baselines and the free-running loss."""
    folder = Path(options.out) / "curve"
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = _corpus(options.music, folder).split(validation=0.1)
    model = _model(train)
    history, held_out = _fit(model, train, validation, folder / "run", options.minutes)
    baselines = model.baselines(held_out, train.windows(model.encoder, steps=40))
    runs = _free_running(gl.load(folder / "run" / "best.keras"), validation)
    named = zip(
        ("predicting the mean", "repeating the last frame", "linear prediction"), baselines.values(), strict=True
    )
    (DOCS / "images").mkdir(exist_ok=True)
    gl.plots.learning_curves(history, dict(named)).figure.savefig(DOCS / "images/training_curve.png")
    losses = history["val_relative_loss"]
    best = int(np.argmin(losses))
    rows = [
        ("epochs", len(losses)),
        ("training loss at the end", f"{history['relative_loss'][-1]:.3f}"),
        ("validation loss at the end", f"{losses[-1]:.3f}"),
        ("lowest validation loss", f"{losses[best]:.3f}, epoch {best + 1}"),
        *[(f"baseline: {name}", f"{loss:.3f}") for name, loss in baselines.items()],
        *[(f"free-running loss, horizon {h}", f"{run.loss:.3f} (energy {run.energy:.2f})") for h, run in runs.items()],
    ]
    text = (
        f"`python benchmarks/training.py curve MUSIC_FOLDER --minutes {options.minutes:g}`; {machine()}. "
        f"{train.seconds / 60:.0f} min of music to train on, {validation.seconds / 60:.1f} min of other tracks to "
        f"validate.\n\n{table(('what', 'measured'), rows)}\n\n![learning curves](images/training_curve.png)"
    )
    write_block(PAGE, "curve", text)


def options_table(options: argparse.Namespace) -> None:
    """Free-running loss of scheduled sampling, rollout and input noise after equal training time."""
    folder = Path(options.out) / "options"
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = _corpus(options.music, folder).split(validation=0.1)
    found: dict[str, list] = {}
    for seed in range(options.seeds):
        for name, (of_stack, of_model) in OPTIONS.items():
            file = folder / f"{name.replace(' ', '-')}-{seed}.json"
            if not file.exists():  # an experiment that was interrupted skips what it has
                model = _model(train, of_stack, of_model, seed)
                run = file.with_suffix("")
                history, _ = _fit(model, train, validation, run, options.minutes, seed)
                runs = _free_running(model, validation)
                losses = {h: one.loss for h, one in runs.items()}
                row = {"validation": min(history["val_relative_loss"]), "epochs": len(history["loss"]), "free": losses}
                file.write_text(json.dumps(row))
            found.setdefault(name, []).append(json.loads(file.read_text()))
    rows = [
        (
            name,
            round(statistics.mean(one["epochs"] for one in runs)),
            _spread([one["validation"] for one in runs]),
            *[_spread([one["free"][str(h)] for one in runs]) for h in HORIZONS if str(h) in runs[0]["free"]],
        )
        for name, runs in found.items()
    ]
    header = ("option", "epochs", "validation", *[f"horizon {h}" for h in HORIZONS])
    text = (
        f"`python benchmarks/training.py options MUSIC_FOLDER --minutes {options.minutes:g}`; {machine()}. "
        f"{options.minutes:g} minutes a run, {options.seeds} random seeds: mean (lowest to highest).\n\n"
        f"{table(header, rows)}"
    )
    write_block(PAGE, "options", text)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _corpus(music: str, folder: Path) -> gl.Corpus:
    return gl.Corpus.build(music, folder / "music.h5", sample_rate=RATE)


def _model(
    train: gl.Corpus, of_stack: dict | None = None, of_model: dict | None = None, seed: int = 0
) -> gl.AudioModel:
    encoder = gl.TimeBlocks(block_size=RATE // 8)
    normalizer = gl.GlobalScale().fit(train, encoder)
    stack = gl.recurrent_stack(encoder.features, units=(300, 300, 300), random_seed=seed, **(of_stack or {}))
    model = gl.AudioModel(encoder, normalizer, stack, train.sample_rate, train.high_pass_hz, **(of_model or {}))
    model.compile("adam")
    return model


def _fit(
    model: gl.AudioModel, train: gl.Corpus, validation: gl.Corpus, run: Path, minutes: float, seed: int = 0
) -> tuple[dict, gl.Windows]:
    windows = train.windows(model.encoder, steps=40, random_seed=seed)
    held_out = validation.windows(model.encoder, steps=40, shuffle=False, offset=0)
    callbacks = [*gl.callbacks.run_callbacks(run), gl.callbacks.TimeLimit(minutes)]
    history = model.fit(windows, validation_data=held_out, epochs=10**6, verbose=2, callbacks=callbacks)
    return history.history, held_out


def _free_running(model: gl.AudioModel, validation: gl.Corpus) -> dict:
    longest = max(map(len, validation)) // model.encoder.hop - 2
    horizons = [h for h in HORIZONS if 2 * h <= longest]
    places = validation.windows(model.encoder, steps=2 * max(horizons), shuffle=False, offset=0)
    return gl.models.free_running_loss(model, places, horizons)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="training-runs", help="where runs stay")
    parts = parser.add_subparsers(required=True, metavar="part")
    for part, name, extra in (
        (kills, "kills", {"--kills": 20, "--epochs": 150, "--seconds": 6.0}),
        (overhead, "overhead", {"--epochs": 5, "--hop": 2000, "--seconds": 600.0}),
        (curve, "curve", {"--minutes": 15.0}),
        (options_table, "options", {"--minutes": 4.0, "--seeds": 3}),
    ):
        one = parts.add_parser(name, help=part.__doc__)
        one.set_defaults(part=part)
        if part in (curve, options_table):
            one.add_argument("music")
        for option, default in extra.items():
            one.add_argument(option, type=type(default), default=default)
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("gruvlike").setLevel(logging.INFO)
    options.part(options)


if __name__ == "__main__":
    main()
