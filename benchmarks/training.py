"""Training one can trust, measured: kills, overhead, learning curves, options against the free-running loss.

    python benchmarks/training.py kills
    python benchmarks/training.py overhead
    python benchmarks/training.py curve MUSIC_FOLDER
    python benchmarks/training.py options MUSIC_FOLDER

Each writes its part of docs/training.md. Started again with the same --out, `curve` and `options` skip finished runs
and restart an interrupted run, because its clock cannot continue. `options` can be divided, one process for each core:

    taskset -c 0 python benchmarks/training.py options MUSIC --only none "input noise 0.1" &
    taskset -c 1 python benchmarks/training.py options MUSIC --only "scheduled sampling 0.25" "rollout of 5 frames"

The process that finds all rows done writes the table.
"""

import argparse
import json
import logging
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _page import DOCS, machine, table, write_block

import gruvlike as gl
from gruvlike import _files
from gruvlike.recipes import Assembly, Recipe

PAGE = "training.md"
RATE = 16_000
EPOCH = r"^epoch +\d"  # a line of progress
HORIZONS = (1, 2, 5, 10, 40)
RECIPE = Recipe(
    encoder={"name": "time_blocks", "block_size": RATE // 8},
    normalizer={"name": "global_scale"},
    network={"units": (300, 300, 300)},
    optimizer={"name": "adam"},
    windows={"steps": 40, "batch_size": 32},
)
OPTIONS = {
    "none": {},
    "input noise 0.1": {"network": {"input_noise": 0.1}},
    "scheduled sampling 0.25": {"feedback": {"share": 0.25, "updates": 500}},
    "rollout of 5 frames": {"feedback": {"rollout_steps": 5}},
}


# --- kills ------------------------------------------------------------------------------------------------------------


def kills(options: argparse.Namespace) -> None:
    """Kills a real process at random moments, goes on, and compares the end with an undisturbed run."""
    folder = Path(options.out) / "kills"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gl.audio.write(folder / "tune.wav", gl.tune.compose(30, 8000), 8000)
    gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=8000)
    words = [
        "--recipe=paper",
        "--block-size=100",
        "--units=32",
        "--steps=10",
        "--batch-size=32",
        "--dropout=0.2",
        "--input-noise=0.1",
    ]
    words += ["--validation=0.3", "--preview-every=10", f"{folder}/music.h5"]
    rows = _kill([*words, "--epochs=1000000", f"{folder}/killed"], options.kills, options.seconds)
    last = _about(folder / "killed")["progress"]["epoch"] + options.epochs
    ends = []
    for name in ("killed", "undisturbed"):
        process = _start([*words, f"--epochs={last}", f"{folder}/{name}"])
        process.communicate()
        if process.returncode:
            raise SystemExit(f"`gruvlike train` ended with {process.returncode}: see {folder}/{name}.txt")
        ends.append(_end(folder / name))
    differing = [what for what in ends[0] if ends[0][what] != ends[1][what]]
    previews = sum(name.endswith(".wav") for name in ends[1]["previews"])
    ended = "the same" if not differing else f"**DIFFERENT** ({', '.join(differing)})"
    verdict = (
        f"**{len(rows)} kills** hit a process that was at work. Then it was left to train until epoch {last}. A run of "
        f"as many epochs that was never disturbed ended with **{ended}**: weights, optimizer and random states "
        f"(checksums {ends[0]['checksum']:08x} and {ends[1]['checksum']:08x}), weights in `best.keras`, history, and "
        f"{previews} previews that sound alike to the last bit."
    )
    text = table(("kill", "when", "went on from", "newest checkpoint then"), rows)
    write_block(PAGE, "kills", f"`python benchmarks/training.py kills`; {machine()}.\n\n{text}\n\n{verdict}")
    if differing or not previews:
        raise SystemExit(verdict)


def _kill(words: list[str], kills: int, seconds: float) -> list[tuple]:
    """Kills so many processes that are at work: one in five while it starts, the others after their first epoch."""
    dice, rows, since = random.Random(0), [], "the beginning"
    for number in range(1, kills + 1):
        starts, moment = number % 5 == 0, dice.uniform(0, seconds)
        process = _start(words, "parameters" if starts else EPOCH)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)  # does nothing to a process that has ended
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"`gruvlike train` had ended before kill {number}: see {words[-1]}.txt")
        until = _place(Path(words[-1]))
        rows.append((number, f"{moment:.2f} s after {'its start' if starts else 'an epoch'}", since, until))
        since = until
    return rows


def _start(words: list[str], until: str = "parameters") -> subprocess.Popen:
    """Starts `gruvlike train` and waits until it says that it is about to train, or that an epoch is over."""
    with open(f"{words[-1]}.txt", "a", encoding="utf-8") as messages:
        process = subprocess.Popen(
            [sys.executable, "-m", "gruvlike", "train", *words],
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    for line in process.stdout:
        if re.search(until, line):
            return process
    raise SystemExit(f"`gruvlike train` ended before a line had {until!r}: see {messages.name}")


def _about(run: Path) -> dict:
    for name in ("newest.keras", "previous.keras"):  # the kill can come between the two moves that change them
        if (run / name).exists():
            with zipfile.ZipFile(run / name) as archive:
                return json.loads(archive.read("training.json"))
    return {"progress": {"epoch": 0, "batch": 0}}


def _place(run: Path) -> str:
    progress = _about(run)["progress"]
    return f"epoch {progress['epoch']}" + (f", batch {progress['batch']}" if progress["batch"] else "")


def _end(run: Path) -> dict:
    """Returns the end state that two runs must have in common."""
    return {
        "checksum": _about(run)["checksum"],
        "best": _weights(run / "best.keras"),
        "history": (run / "history.csv").read_text(),
        "previews": {path.name: path.read_bytes() for path in (run / "previews").glob("*.[wc][as]v")},
    }


def _weights(file: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def take(name: str, one: h5py.Group | h5py.Dataset) -> None:
        if isinstance(one, h5py.Dataset):
            found[name] = np.asarray(one).tobytes()

    with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as member, h5py.File(member) as h5:
        h5.visititems(take)
    return found


# --- overhead ---------------------------------------------------------------------------------------------------------


def overhead(options: argparse.Namespace) -> None:
    """The time that the callbacks of a run take, by callback, and epochs with and without them in turn."""
    folder = Path(options.out) / "overhead"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gl.audio.write(folder / "tune.wav", gl.tune.compose(options.seconds, RATE), RATE)
    corpus = gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=RATE)
    model, windows, _, _, validation, _ = RECIPE.change(windows={"hop": options.hop}).build(corpus)
    held_out = validation.windows(model.encoder, steps=40, shuffle=False, offset=0)
    model.fit(windows, validation_data=held_out, steps_per_epoch=2, verbose=0)  # compiles
    spent: dict[str, list[float]] = {}
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(1, options.epochs + 1):
        for is_watched in (False, True):
            note, callbacks, epochs = _stopwatch(), [], 1
            if is_watched:  # the run goes on, with one more epoch
                callbacks, epochs = gl.callbacks.run_callbacks(folder / "run", preview_every=options.epochs), number
                for callback in callbacks:
                    _clock(callback, spent.setdefault(type(callback).__name__, [0.0, 0.0]))
            model.fit(windows, validation_data=held_out, epochs=epochs, verbose=2, callbacks=[note, *callbacks])
            times[is_watched].append(note.seconds)
    write_block(PAGE, "overhead", _overhead_text(options.epochs, len(windows), model.count_params(), times, spent))


def _overhead_text(
    epochs: int, batches: int, parameters: int, times: dict[bool, list[float]], spent: dict[str, list[float]]
) -> str:
    epoch = statistics.mean(times[False])
    costs = {name: (one[0] / epochs * 60 / epoch, one[1] / epochs) for name, one in spent.items()}
    sums = tuple(map(sum, zip(*costs.values(), strict=True)))
    rows = [
        (name, *[f"{1000 * part:.0f} ms" for part in parts], f"{100 * sum(parts) / 60:.2f} %")
        for name, parts in [*((f"`{name}`", parts) for name, parts in costs.items()), ("**all together**", sums)]
    ]
    more = statistics.mean(times[True]) - epoch
    said = {key: f"{statistics.mean(one):.1f} s ({min(one):.1f} to {max(one):.1f})" for key, one in times.items()}
    return (
        f"`python benchmarks/training.py overhead`; {machine()}. {epochs} epochs, {batches} batches each, "
        f"{parameters:,} parameters, Adam; previews and the free-running loss, with their compilation, after epoch "
        f"{epochs}. What is asked for once a run (baselines, a look at the music) is not counted.\n\n"
        f"{table(('callback', 'after batches, in 60 s', 'around an epoch', 'share of an epoch of 60 s'), rows)}\n\n"
        "Callbacks also make Keras wait for the numbers of each batch, which no clock inside them sees. Epochs with "
        f"and without them, in turn: {said[True]} with, {said[False]} without. The difference is {1000 * more:.0f} ms "
        f"an epoch, {100 * more / epoch:.1f} % of these epochs; what the clocks counted in the same epochs is "
        f"{1000 * sum(map(sum, spent.values())) / epochs:.0f} ms."
    )


def _stopwatch() -> Any:
    """A callback that keeps the seconds from the beginning of a `fit`'s epoch to the end of that `fit`."""
    import keras

    def begin(*_: object) -> None:
        note.seconds = -time.perf_counter()

    def end(*_: object) -> None:  # not at the end of the epoch: a run folder saves after all others
        note.seconds += time.perf_counter()

    note = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_train_end=end)
    return note


def _clock(callback: object, spent: list[float]) -> None:
    """Counts the time in the methods that Keras calls during an epoch: around batches, and around the epoch."""

    def clocked(method: Callable, place: int) -> Callable:
        def run(*args: object, **kwargs: object) -> None:
            start = time.perf_counter()
            method(*args, **kwargs)
            spent[place] += time.perf_counter() - start

        return run

    for place, events in enumerate((("train_batch_begin", "train_batch_end"), ("epoch_begin", "epoch_end"))):
        for event in events:
            setattr(callback, f"on_{event}", clocked(getattr(callback, f"on_{event}"), place))


# --- on music ---------------------------------------------------------------------------------------------------------


def curve(options: argparse.Namespace) -> None:
    """Learning curves of time-domain blocks of 0.125 s, LSTM 3 x 300, with baselines and the free-running loss."""
    folder = Path(options.out) / "curve"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{options.minutes:g}-minutes.json"
    corpus = _corpus(options.music, folder)
    train, validation = corpus.split(validation=0.1)
    if not file.exists():
        with _anew(file) as run:
            parts = RECIPE.build(corpus)
            found = {
                "cores": len(os.sched_getaffinity(0)),
                "history": _fit(parts, run, options.minutes),
                "baselines": parts.model.baselines(parts.validation_windows, train.windows(parts.model.encoder)),
                "free": {h: (f"{one.loss:.3f}", f"{one.energy:.2f}")
                         for h, one in _free_running(gl.load(run / "best.keras"), validation).items()},
            }  # fmt: skip
            _write(file, found)
    found = json.loads(file.read_text())
    names = ("predicting the mean", "repeating the last frame", "linear prediction")
    (DOCS / "images").mkdir(exist_ok=True)
    lines = dict(zip(names, found["baselines"].values(), strict=True))
    gl.plots.learning_curves(found["history"], lines).figure.savefig(DOCS / "images/training_curve.png")
    text = (
        f"`python benchmarks/training.py curve MUSIC_FOLDER --minutes {options.minutes:g}`; {machine()}. Trained on "
        f"{_cores([found])}; the minutes count compilation, validation and previews. {train.seconds / 60:.0f} min of "
        f"music to train on, {validation.seconds / 60:.1f} min of other tracks to validate.\n\n"
        f"{table(('what', 'measured'), _curve_rows(found))}\n\n![learning curves](images/training_curve.png)"
    )
    write_block(PAGE, "curve", text)


def _curve_rows(found: dict) -> list[tuple]:
    history = found["history"]
    losses = history["val_relative_loss"]
    best = int(np.argmin(losses))
    return [
        ("epochs", len(losses)),
        ("training loss at the end", f"{history['relative_loss'][-1]:.3f}"),
        ("validation loss at the end", f"{losses[-1]:.3f}"),
        ("lowest validation loss", f"{losses[best]:.3f}, epoch {best + 1}"),
        *[(f"baseline: {name}", f"{loss:.3f}") for name, loss in found["baselines"].items()],
        *[(f"free-running loss, horizon {h}", f"{one[0]} (energy {one[1]})") for h, one in found["free"].items()],
    ]


def options_table(options: argparse.Namespace) -> None:
    """Free-running loss of scheduled sampling, rollout and input noise after equal training time."""
    folder = Path(options.out) / "options" / f"{options.minutes:g}-minutes"
    folder.mkdir(parents=True, exist_ok=True)
    files = {(name, seed): folder / f"{name.replace(' ', '-')}-{seed}.json"
             for seed in range(options.seeds) for name in OPTIONS}  # fmt: skip
    wanted = [key for key, file in files.items() if key[0] in options.only and not file.exists()]
    if wanted:
        corpus = _corpus(options.music, folder.parent)
    for name, seed in wanted:
        if files[name, seed].exists():
            continue  # another process has done it meanwhile
        with _anew(files[name, seed]) as run:
            parts = RECIPE.change(**OPTIONS[name], random_seed=seed).build(corpus)
            history = _fit(parts, run, options.minutes)
            row = {
                "cores": len(os.sched_getaffinity(0)),
                "validation": min(history["val_relative_loss"]),
                "epochs": len(history["loss"]),
                "free": {h: one.loss for h, one in _free_running(parts.model, parts.validation).items()},
            }
            _write(files[name, seed], row)
    missing = [f"{name} (random seed {seed})" for (name, seed), file in files.items() if not file.exists()]
    if missing:
        print(f"No table yet. Missing: {', '.join(missing)}.")
        return
    found = {name: [json.loads(files[name, seed].read_text()) for seed in range(options.seeds)] for name in OPTIONS}
    write_block(PAGE, "options", _options_text(options.minutes, found))


def _options_text(minutes: float, found: dict[str, list[dict]]) -> str:
    horizons = [h for h in map(str, HORIZONS) if all(h in one["free"] for runs in found.values() for one in runs)]
    rows = [
        (
            name,
            ", ".join(str(one["cores"]) for one in runs),
            ", ".join(str(one["epochs"]) for one in runs),
            _spread([one["validation"] for one in runs]),
            *[_spread([one["free"][h] for one in runs]) for h in horizons],
        )
        for name, runs in found.items()
    ]
    runs = [one for many in found.values() for one in many]
    header = ("option", "cores", "epochs", "validation", *[f"horizon {h}" for h in horizons])
    return (
        f"`python benchmarks/training.py options MUSIC_FOLDER --minutes {minutes:g}`; {machine()}. {minutes:g} minutes "
        f"a run, which count compilation, validation and previews; trained on {_cores(runs)}. "
        f"{len(runs) // len(found)} random seeds: cores and epochs of each, losses as mean (lowest to highest); "
        "validation: the lowest of the run, horizons: the free-running loss of the weights at the end.\n\n"
        f"{table(header, rows)}"
    )


def _cores(runs: list[dict]) -> str:
    """On how many cores the runs have trained."""
    counts = sorted({one["cores"] for one in runs})
    return f"{' or '.join(map(str, counts))} core{'s' if counts != [1] else ''}{' each' if runs[1:] else ''}"


@contextmanager
def _anew(file: Path) -> Iterator[Path]:
    """Holds the run folder that belongs to `file`, and empties it: the clock of an interrupted run cannot continue."""
    run = file.with_suffix("")
    rule = f"A run is trained by one process at a time. Received: {str(run)!r}, which is being trained. Use --only."
    with _files.locked(file.with_suffix(".lock"), rule):
        shutil.rmtree(run, ignore_errors=True)
        yield run


def _write(file: Path, found: dict) -> None:
    with _files.replacing(file) as temporary:
        temporary.write_text(json.dumps(found))


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _corpus(music: str, folder: Path) -> gl.Corpus:
    """Builds the corpus, or waits while another process does."""
    file = folder / "music.h5"
    while not file.exists():
        try:
            gl.Corpus.build(music, file, sample_rate=RATE)
        except BlockingIOError:
            time.sleep(1)
    return gl.Corpus(file)


def _fit(parts: Assembly, run: Path, minutes: float) -> dict[str, list[float]]:
    callbacks = [*gl.callbacks.run_callbacks(run), gl.callbacks.TimeLimit(minutes)]
    windows, held_out = parts.windows, parts.validation_windows
    return parts.model.fit(windows, validation_data=held_out, epochs=10**6, verbose=2, callbacks=callbacks).history


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
        (kills, "kills", {"--kills": 20, "--epochs": 50, "--seconds": 6.0}),
        (overhead, "overhead", {"--epochs": 4, "--hop": 2500, "--seconds": 600.0}),
        (curve, "curve", {"--minutes": 15.0}),
        (options_table, "options", {"--minutes": 4.0, "--seeds": 3}),
    ):
        one = parts.add_parser(name, help=part.__doc__)
        one.set_defaults(part=part)
        if part in (curve, options_table):
            one.add_argument("music")
        if part is options_table:
            one.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS), help="rows to train")
        for option, default in extra.items():
            one.add_argument(option, type=type(default), default=default)
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("gruvlike").setLevel(logging.INFO)
    options.part(options)


if __name__ == "__main__":
    main()
