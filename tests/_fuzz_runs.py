"""Damaged and forged run folders, for `_fuzz`: loaded, looked at, and gone on with."""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _fuzz_models import RATE, damaged, members_of, save, with_bytes, with_values, write

if TYPE_CHECKING:
    import keras

    import gruvlike as gl

TOLERANCE = 0

Change = Callable[[dict[str, Any]], Any]
# What the state of a training in a checkpoint may claim: a change of `training.json`, or another text in its place.
FORGERIES: dict[str, Change] = {
    "no progress": lambda about: {**about, "progress": {}},
    "a list": lambda about: "[]",
    "deep": lambda about: "[" * 100_000,
    "deep states": lambda about: '{"version":1,"states":' + '{"dict":' * 300 + "1" + "}" * 300 + "}",
    "rows": lambda about: about["progress"].update(rows="x"),
    "rows of numbers": lambda about: about["progress"].update(rows=[1]),
    "rows without an epoch": lambda about: about["progress"].update(rows=[{"loss": 1.0}]),
    "epoch": lambda about: about["progress"].update(epoch=-5),
    "epoch of text": lambda about: about["progress"].update(epoch="x"),
    "endless seconds": lambda about: about["progress"].update(seconds=float("inf")),
    "seconds beyond all floats": lambda about: about["progress"].update(seconds=10**400),
    "numbers beyond all floats": lambda about: about["progress"].update(
        rows=[{"epoch": 0, "seconds": 1.0, "loss": 10**400}]
    ),
    "numbers beyond all integers": lambda about: about["progress"]["baselines"].update(mean=2**70),
    "identity": lambda about: about["progress"].update(identity=[]),
    "identity of parts": lambda about: about["progress"]["identity"].update(optimizer=1),
    "more progress": lambda about: about["progress"].update(more=1),
    "states": lambda about: {**about, "states": [1]},
    "no states": lambda about: {**about, "states": []},
    "an array that is not there": lambda about: {**about, "states": [["metrics", {"array": 10**9}]]},
    "version": lambda about: {**about, "version": "1"},
    "unsaved": lambda about: {**about, "unsaved": 10**9},
    "checksum": lambda about: {**about, "checksum": []},
}
ODD_FILES = ("noise", "empty", "cut", "missing", "link", "lost link", "folder", "pipe")


def make_model(optimizer: str = "sgd") -> "gl.AudioModel":
    """Returns a tiny model."""
    import keras

    import gruvlike as gl

    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    start = keras.initializers.GlorotUniform(seed=5)
    layers = [keras.layers.Dense(4, kernel_initializer=start), keras.layers.Dense(50, kernel_initializer=start)]
    model = gl.AudioModel(encoder, normalizer, keras.Sequential([keras.Input((None, 50)), *layers]), RATE)
    model.compile(optimizer, run_eagerly=True)
    return model


def make_parts(folder: Path) -> "tuple[gl.Corpus, ...]":
    """Builds a corpus of four seconds, and returns its parts for training and validation."""
    import gruvlike as gl

    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def fit(
    parts: "Sequence[gl.Corpus]", directory: Path, epochs: int, extra: "Sequence[keras.callbacks.Callback]" = ()
) -> "keras.callbacks.History":
    """Trains a tiny model, or goes on with it, in a run folder."""
    from gruvlike.callbacks import run_callbacks

    model = make_model()
    windows = [part.windows(model.encoder, steps=6, batch_size=16) for part in parts]
    callbacks = [*extra, *run_callbacks(directory, preview_every=0)]
    return model.fit(windows[0], validation_data=windows[1], epochs=epochs, verbose=0, callbacks=callbacks)


def deciding() -> "list[keras.callbacks.Callback]":
    """Returns callbacks whose states a run keeps."""
    from keras.callbacks import EarlyStopping, ReduceLROnPlateau

    from gruvlike.callbacks import CosineOverTime

    on = {"monitor": "val_loss", "patience": 9, "mode": "min"}
    return [EarlyStopping(**on), ReduceLROnPlateau(**on), CosineOverTime(minutes=60)]


def forge(path: Path, change: Change) -> Path:
    """Changes the state of the training in a checkpoint."""
    members = members_of(path)
    about = json.loads(members["training.json"])
    about = change(about) or about
    return write(path, {**members, "training.json": about if isinstance(about, str) else json.dumps(about)})


def seeds(folder: Path) -> None:
    """Trains two epochs."""
    (folder / "music").mkdir()
    fit(make_parts(folder / "music"), folder / "seed", 2, deciding())


def make_odd(path: Path, kind: str, random: random.Random) -> None:
    """Puts something else in the place of a file."""
    data = path.read_bytes()
    path.unlink()
    if kind == "noise":
        path.write_bytes(random.randbytes(random.choice((1, 100, 10_000))))
    elif kind == "empty":
        path.touch()
    elif kind == "cut":
        path.write_bytes(data[: random.randrange(len(data) + 1)])
    elif kind == "link":
        path.symlink_to(path.parent / "summary.txt")
    elif kind == "lost link":
        path.symlink_to(path.parent / "nowhere" / "lost")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)


def change(seed: Path, turn: int, random: random.Random, path: Path) -> None:
    """Makes a changed copy of a run: a forged state, a file that is none, damage to checkpoints, other settings."""
    shutil.copytree(seed, path)
    checkpoints = [path / f"{name}.keras" for name in random.choice((("newest",), ("newest", "previous")))]
    kind, turn = turn % 4, turn // 4
    if kind == 0:
        for file in checkpoints:
            forge(file, list(FORGERIES.values())[turn % len(FORGERIES)])
    elif kind == 1:
        files = sorted(one for one in path.iterdir() if one.is_file())
        make_odd(files[turn % len(files)], ODD_FILES[turn // len(files) % len(ODD_FILES)], random)
    elif kind == 2:
        for file in checkpoints:
            save(file, damaged(file, random.choice((0, 1, 1, 2, 3)), random))
    else:
        for name in ("config.json", "history.jsonl"):
            file = path / name
            lines = [file.read_bytes()] if name == "config.json" else file.read_bytes().splitlines()
            file.write_text("\n".join(_changed(line, random) for line in lines))


def _changed(line: bytes, random: random.Random) -> str:
    if random.random() < 0.7:
        return with_values(line, random)
    return with_bytes(line, True, random).decode("utf-8", "replace")


def attempt(path: Path, folder: Path) -> dict[str, int]:
    """Loads the model of a run, reads the run for a page, and trains one more epoch; raises the first refusal."""
    import gruvlike as gl
    from gruvlike.listening import read_run

    parts = gl.Corpus(folder / "music" / "music.h5").split(validation=0.3)
    refused = []
    for use in (gl.load, read_run, lambda run: fit(parts, run, 3, deciding())):
        try:
            use(path)
        except (ValueError, OSError) as error:
            refused.append(error)
    for error in sorted(refused, key=lambda error: str(path) in str(error)):
        raise error
    return {}


def is_undeniable(_seed: Path, _path: Path) -> bool:
    """Returns whether bytes were changed that nothing can deny; a run has no length."""
    return False
