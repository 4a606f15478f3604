"""Does it make music? Systems that differ by one part each, trained for equal times, sing from held-out openings.

    python benchmarks/sound.py MUSIC [--systems NAME ...] [--minutes 5] [--seeds 1] [--yardstick FOLDER]

--updates trains for equal updates in place of equal times, --core-minutes for equal seconds of the processor: other
work on the machine then changes nothing, or little. `TF_NUM_INTRAOP_THREADS=1` uses one core.

Writes the table of docs/sound.md; with --listen also a picture of some songs of each system beside real music, and the
songs themselves as Opus files in runs/sound/. Each finished system is a file in runs/sound/, so the script can be
interrupted and started again: the table has all systems that are finished. Give each budget an --out of its own.

MUSIC is a folder of tracks of a minute or more. The yardstick is a folder with `split.py` and `judge.py`, which cut the
music and measure songs in ways of their own; without it the measures of the package alone are shown.
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from _listen import listen
from _page import DOCS, machine, table, write_block

import gruvlike as gl
from gruvlike._files import replacing
from gruvlike.recipes import Recipe

RATE, OPENING, SONG = 16_000, 8.0, 24.0
OPENINGS = 48
COPIES = 8  # songs that are looked up in the whole corpus
MOST_SEEDS = 10  # random seeds of a system in a table
BASE = Recipe(
    encoder={"name": "log_spectrum", "frame_size": 1024, "hop": 256, "floor_db": -80.0, "iterations": 16},
    normalizer={"name": "principal_components", "components": 128},
    head={"name": "mixture", "components": 8, "temperature": 0.6},
    network={"cell": "gru", "units": (256, 256), "input_noise": 0.3, "residual": False},
    windows={"steps": 64, "batch_size": 8},
    split={"validation": 0.0},
)
SKIP = BASE.change(network={"residual": True})
CLOCK = SKIP.change(conditions={"clock": True})
LAGS = CLOCK.change(conditions={"lags": (1.0, 4.0, 8.0)})
ANCHOR = LAGS.change(conditions={"anchor": 8.0})
TOLD = ANCHOR.change(network={"input_noise": 0.6, "told_noise": 0.25})


class System(NamedTuple):
    """What sings.

    Attributes:
        recipe: The recipe of the model; `None`: the real music that follows each opening takes the place of songs.
        leash: Of the songs.
        choices: How often each moment of a song is drawn.
        grains: Whether songs are made of grains of the training music, by `UnitSelection`.
    """

    recipe: Recipe | None
    leash: float = 0.0
    choices: int = 1
    grains: bool = False


# Each system is the one before with one part more, but the first, and those that begin with "real".
LADDER = {
    "2015: block DFT, LSTM, mean squared error": System(
        Recipe(windows={"steps": 40, "batch_size": 32}, split={"validation": 0.0}, network={"units": (256, 256)})
    ),
    "log-magnitude frames, mixture of 8, noise": System(BASE),
    "+ skip from the last frame": System(SKIP),
    "+ clock": System(CLOCK),
    "+ lags of 1, 4 and 8 beats": System(LAGS),
    "+ leash": System(LAGS, leash=0.3),
    "+ anchor": System(ANCHOR, leash=0.3),
    "+ noise of a level that is told, a stronger leash": System(TOLD, leash=0.6),
    "+ the best of four draws of each moment": System(TOLD, leash=0.6, choices=4),
    "+ grains of real sound": System(TOLD, leash=0.6, choices=4, grains=True),
    "real music": System(None),
}
Figures = dict[str, float]
log = logging.getLogger("sound")


class Cosine(keras.callbacks.Callback):
    """Half a cosine over a number of updates, or over seconds of the processor, after a warm-up of 50 updates.

    Then training ends.
    """

    def __init__(self, updates: int | None, seconds: float | None = None, highest: float = 2e-3):
        super().__init__()
        self.updates, self.seconds, self.highest, self.done, self.start = updates, seconds, highest, 0, 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.done == 1:  # the first batch compiles
            self.start = time.process_time()
        progress = self.done / self.updates if self.updates else 0.0
        if self.seconds and self.done:
            progress = (time.process_time() - self.start) / self.seconds
        share = 0.03 + 0.97 * (1 + np.cos(np.pi * min(1.0, progress))) / 2
        self.model.optimizer.learning_rate = self.highest * share * min(1.0, (self.done + 1) / 50)
        self.done += 1
        self.model.stop_training = progress >= 1 or self.done == self.updates


def cut(music: Path, out: Path, yardstick: Path | None) -> None:
    """Cuts music into train/, seeds/, reference/ and openings/, once."""
    if (out / "openings").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    if yardstick:
        subprocess.run([sys.executable, yardstick / "split.py", music, out], check=True)
        return
    later = []
    for path in gl.audio.find(music):
        samples = gl.audio.read(path, RATE, high_pass_hz=20.0)
        if len(samples) < 60 * RATE:
            continue
        ends = [int(len(samples) * share) for share in (0.0, 0.79, 0.83, 1.0)]
        for part, start, stop in zip(("train", "seeds", "reference"), ends[:-1], ends[1:], strict=True):
            (out / part).mkdir(parents=True, exist_ok=True)
            gl.audio.write(out / part / f"{path.stem}.wav", samples[start:stop], RATE)
        if ends[2] - ends[1] >= OPENING * RATE:
            later.append((path.stem, samples[ends[1] : ends[2]]))
    (out / "openings").mkdir()
    random = np.random.default_rng(0)
    for number in range(OPENINGS):
        name, samples = later[number % len(later)]
        start = int(random.integers(len(samples) - OPENING * RATE + 1))
        opening = samples[start : start + int(OPENING * RATE)]
        gl.audio.write(out / "openings" / f"{number:02}-{name}.wav", opening, RATE)


def train(recipe: Recipe, random_seed: int, out: Path, options: argparse.Namespace) -> tuple[gl.AudioModel, Figures]:
    """Returns a trained model, and how long that took; systems of one recipe share it."""
    owner = next(number for number, system in enumerate(LADDER.values()) if system.recipe == recipe)
    file, figures = (out / f"{owner:02}-{random_seed}.{suffix}" for suffix in ("keras", "training.json"))
    if figures.exists():
        return gl.load(file), json.loads(figures.read_text())
    optimizer = {"name": "adam", "learning_rate": 2e-3, "beta_2": 0.98}
    recipe = recipe.change(random_seed=random_seed, optimizer=optimizer)
    model, windows, *_ = recipe.build(gl.Corpus(out / "train.h5"))
    timed = [gl.callbacks.CosineOverTime(options.minutes), gl.callbacks.TimeLimit(options.minutes)]
    start, before = time.perf_counter(), time.process_time()
    seconds = 60 * options.core_minutes if options.core_minutes else None
    limits = [Cosine(options.updates, seconds)] if options.updates or seconds else timed
    model.fit(windows, epochs=10**6, verbose=0, callbacks=limits)
    found = {"training": time.perf_counter() - start, "updates": int(model.optimizer.iterations)}
    found["processor"] = time.process_time() - before
    model.save(file)
    with replacing(figures) as temporary:
        temporary.write_text(json.dumps(found))
    return model, found


def sing(model: gl.AudioModel, out: Path, songs: Path, system: System, seconds: float) -> None:
    """Writes a song for each opening."""
    openings = sorted((out / "openings").iterdir())
    options = {"random_seed": 1, "choices": system.choices} if model.head.draws(model.width) else {}
    decoder = gl.decoders.UnitSelection(model.encoder, gl.Corpus(out / "train.h5")) if system.grains else None
    sung = gl.Generator(model, decoder=decoder).extend(openings, seconds=seconds, leash=system.leash, **options)
    songs.mkdir(parents=True, exist_ok=True)
    for path, song in zip(openings, sung, strict=True):
        gl.audio.write(songs / path.name, song, RATE)


def follow(out: Path, songs: Path) -> None:
    """Writes the music that really follows each opening."""
    songs.mkdir(parents=True, exist_ok=True)
    for path in sorted((out / "openings").iterdir()):
        track = f"{path.stem.partition('-')[2]}.wav"
        later, rest = (gl.audio.read(out / part / track, RATE) for part in ("seeds", "reference"))
        opening = gl.audio.read(path, RATE)
        some = np.linspace(0, len(opening) - 1, 64).astype(int)  # so many samples tell the place of an opening
        places = np.lib.stride_tricks.sliding_window_view(later, len(opening))[:, some]
        start = int(np.abs(places - opening[some]).max(axis=1).argmin()) + len(opening)
        gl.audio.write(songs / path.name, np.concatenate([later, rest])[start : start + int(SONG * RATE)], RATE)


def judged(songs: Path, out: Path, yardstick: Path | None) -> dict[str, Any]:
    """Returns the measures of a folder of songs: the yardstick's, and those of the package."""
    found = own(songs, out)
    if yardstick:
        command = [sys.executable, yardstick / "judge.py", songs, "--reference", out / "reference"]
        command += ["--seeds", out / "openings", "--hop", "256"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found["yardstick"] = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return found


def own(songs: Path, out: Path) -> dict[str, float]:
    """Returns medians of the measures of the package."""
    rows = []
    for path in sorted(songs.glob("*.wav")):
        song, seed = gl.audio.read(path, RATE), gl.audio.read(out / "openings" / path.name, RATE)
        beat = gl.rhythm.tempo(seed, RATE).beat_seconds
        patterns = [
            gl.metrics.rhythm_pattern(sound, RATE, beat, start)
            for sound, start in ((seed, 0.0), (song, OPENING), (song[-8 * RATE :], OPENING + len(song) / RATE - 8))
        ]
        rows.append(
            {
                "pulse": gl.metrics.pulse(song, RATE),
                "own rhythm": gl.metrics.rhythm_similarity(patterns[1], patterns[0]),
                "own rhythm, last 8 s": gl.metrics.rhythm_similarity(patterns[2], patterns[0]),
                "flux": gl.metrics.flux(song, RATE),
                "onsets a second": gl.metrics.onset_rate(song, RATE),
                "copy of the seed": float(gl.metrics.copy_score(song, seed, RATE, on="spectrum").score),
            }
        )
    corpus = gl.Corpus(out / "train.h5")
    some = [gl.audio.read(path, RATE)[-int(SONG * RATE) :] for path in sorted(songs.glob("*.wav"))[:COPIES]]
    copies = [float(gl.metrics.copy_score(song, corpus, on="spectrum").score) for song in some]
    medians = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    return {**medians, "copy of the corpus": float(np.median(copies))}


def folder(name: str, random_seed: int, out: Path, options: argparse.Namespace) -> Path:
    """Returns the folder of the songs of a system."""
    place = f"{list(LADDER).index(name):02}-{random_seed}"
    return out / (place if options.seconds == SONG else f"{place}-{options.seconds:g}s")


def run(name: str, random_seed: int, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Trains, sings and measures one system, unless that was done; returns its figures."""
    songs = folder(name, random_seed, out, options)
    file = songs.parent / f"{songs.name}.json"
    if file.exists():
        return json.loads(file.read_text())
    system = LADDER[name]
    gl.Corpus.build(out / "train", out / "train.h5", sample_rate=RATE, high_pass_hz=None)
    log.info("%s, random seed %d", name, random_seed)
    found: dict[str, Any] = {"system": name, "random seed": random_seed}
    if system.recipe is None:
        follow(out, songs)
        found |= {"training": 0.0, "updates": 0, "processor": 0.0}
    else:
        model, figures = train(system.recipe, random_seed, out, options)
        found |= figures
        sing(model, out, songs, system, options.seconds)
    found |= judged(songs, out, options.yardstick)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def known(out: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the figures of all systems that are finished, also in earlier calls, in the order of the ladder."""
    places = [folder(name, seed, out, options) for name in LADDER for seed in range(MOST_SEEDS)]
    files = [songs.parent / f"{songs.name}.json" for songs in places]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def listening(out: Path, page: str, options: argparse.Namespace) -> str:
    """Writes Opus files and pictures of all systems; returns the lines of the page that show them."""
    follow(out, out / "real")
    lines = []
    for name in (name for name in options.systems if LADDER[name].recipe):
        songs = folder(name, 0, out, options)
        picture = DOCS / "images" / f"sound-{page}-{songs.name}.jpg".replace(" ", "-")
        files = listen(songs, out / "real", RATE, picture)
        names = ", ".join(f"`{one.name}`" for one in files)
        lines += [f"{name} (to listen to, in the folder `listen` beside the songs: {names}):", ""]
        lines += [f"![spectrograms and onsets: {name}](images/{picture.name})", ""]
    return "\n".join(lines)


def columns(row: dict[str, Any]) -> list[object]:
    """Returns the cells of a row of the table."""
    took = f"{row['updates']} updates, {row['training']:.0f} s ({row['processor']:.0f} s of a core)"
    cells: list[object] = [row["system"], row["random seed"], took]
    yard = row.get("yardstick")
    if yard:
        rhythm = yard["rhythm"]
        cells += [f"{yard['fad']:.1f}", f"{yard['fad_late']:.1f}", f"{yard['pulse']:.2f}"]
        cells += [f"{rhythm[one]:.2f}" for one in ("own", "nearest", "last")]
        levels = "/".join(f"{level:.1f}" for level in yard["energy"])
        cells += [f"{yard['repetition']:.2f}", levels, f"{yard['tick']:.2f}"]
    else:
        cells += ["-"] * 9
    own = ("own rhythm", "flux", "copy of the seed", "copy of the corpus")
    return [*cells, *(f"{row[name]:.2f}" for name in own)]


HEADER = ["system", "random seed", "training", "FAD", "late", "pulse", "own rhythm", "nearest", "last", "repetition"]
HEADER += ["energy dB (1/12/23 s)", "tick", "own rhythm (ours)", "flux (ours)", "copy of the seed (ours)"]
HEADER += ["copy of the corpus (ours)"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="a folder")
    parser.add_argument("--systems", nargs="+", default=list(LADDER), choices=list(LADDER), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training")
    parser.add_argument("--updates", type=int, help="of training, in place of minutes")
    parser.add_argument("--core-minutes", type=float, help="of training: time of the processor, in place of minutes")
    parser.add_argument("--seconds", type=float, default=SONG, help="of the songs; `late` and `last` are of their end")
    parser.add_argument("--seeds", type=int, default=1, help=f"random seeds of each system, {MOST_SEEDS} at most")
    parser.add_argument("--listen", action="store_true", help="write pictures and Opus files, too")
    parser.add_argument("--yardstick", type=Path, help="folder with split.py and judge.py")
    parser.add_argument("--out", type=Path, default=Path("runs/sound"))
    parser.add_argument("--name", help="of the music on the page; that of the folder by default")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    name = options.name or options.music.resolve().name
    out = options.out / name
    cut(options.music, out, options.yardstick)
    for seed in range(options.seeds):
        for system in options.systems:
            run(system, seed, out, options)
    rows = known(out, options)
    text = table(HEADER, map(columns, rows))
    name += "" if options.seconds == SONG else f", songs of {options.seconds:g} s"
    write_block("sound.md", f"ladder: {name}", f"{text}\n\n{machine()}")
    if options.listen:
        write_block("sound.md", f"listen: {name}", listening(out, name, options))


if __name__ == "__main__":
    main()
