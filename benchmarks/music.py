"""The recipe that makes music: a training step against the plain stack, songs, the way back, and fitting.

KERAS_BACKEND=tensorflow python benchmarks/music.py
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from _measure import FULL, Row, in_turn, publish, read_seconds

import gruvlike as gl
from gruvlike.recipes import Recipe, get

RATE = 16_000
CLIPS = 16
COSTLIER = 1.3  # a step with clock, lags, gates and mixture may take so many times as long as one of the plain stack
LONGEST = 0.2  # ms a step of a song, where weights are read in less
SHARE = 0.7  # of the speed at which weights are read
FASTER = 20  # times real time, for the way back
READINGS = 2  # fitting may take as long as reading the corpus so many times


def plain(recipe: Recipe) -> Recipe:
    """Returns the recipe without clock, lags, anchor, gates, noise and mixture: the same layers on the same frames."""
    network = {name: recipe.network[name] for name in ("cell", "units", "projection")}
    names = ("encoder", "normalizer", "windows", "split", "optimizer", "epochs", "minutes")
    return Recipe(**{name: getattr(recipe, name) for name in names}, network=network)


def training_step(recipe: Recipe, corpus: gl.Corpus) -> tuple[gl.AudioModel, Callable[[], Any]]:
    """Returns a model and an update of it, on a batch that lies in memory."""
    model, windows, *_ = recipe.build(corpus)
    model.fit(windows, steps_per_epoch=1, verbose=0)  # from now on the windows hold the numbers of the conditions
    batch = windows[0][0]
    return model, lambda: model.train_on_batch(batch)


def song_rows(model: gl.AudioModel, seed: Any, seconds: float, rounds: int) -> list[Row]:
    """Songs of one clip and of several, decoding included, and the way back alone."""
    generator = gl.Generator(model)
    encoder = model.encoder
    steps = int(seconds * RATE / encoder.hop)
    frames = encoder.encode(generator.extend(seed, steps=steps), padded=False)
    calls = {
        "one": lambda: generator.extend(seed, steps=steps),
        "many": lambda: generator.extend(seed, steps=steps, clips=CLIPS),
        "back": lambda: list(encoder.decoder().stream([frames])),
    }
    for call in calls.values():
        call()  # compiles
    taken = in_turn(calls, rounds)
    allowed = max(LONGEST, 1e3 * read_seconds(4 * model.stack.count_params()) / SHARE)
    one, many, back = (1e3 * taken[name] / steps for name in calls)
    played = f"{seconds / taken['one']:.0f} times real time"
    return [
        Row(f"song, {played}, a seed of {len(seed) / RATE:.0f} s and decoding included", one, None, None, "ms a step"),
        Row("the same without decoding; limit: the aim", one - back, None, allowed, "ms a step"),
        Row(f"{CLIPS} clips; rival: one after the other", many, CLIPS * one, None, "ms a step"),
        Row(
            f"decoding; limit: the aim, {FASTER} times real time",
            seconds / taken["back"],
            None,
            FASTER,
            "times real time",
            more_is_better=True,
        ),
    ]


def fitting_rows(recipe: Recipe, corpus: gl.Corpus, rounds: int) -> list[Row]:
    """Fitting components and bounds, against reading the corpus, as PCM alone and as frames."""
    options = dict(recipe.encoder)
    encoder = gl.encoders.get(options.pop("name"), **options)

    def read(use: Callable[[Any], Any]) -> None:
        for track in corpus:
            use(track.samples(0, len(track)))

    components = int(recipe.normalizer["components"])
    calls = {
        "fit": lambda: gl.normalizers.PrincipalComponents(components).fit(corpus, encoder),
        "PCM": lambda: read(len),
        "frames": lambda: read(lambda samples: encoder.encode(samples, padded=False)),
    }
    calls["fit"]()
    taken = in_turn(calls, rounds)
    return [
        Row(
            f"fitting; limit: the aim, reading the corpus {READINGS} times as {name}",
            1e3 * taken["fit"],
            None,
            1e3 * READINGS * taken[name],
            "ms",
        )
        for name in ("PCM", "frames")
    ]


def measure(
    recipe: Recipe | None = None, music_seconds: float = 210.0, song_seconds: float = 30.0, rounds: int = 5
) -> tuple[list[Row], str]:
    """Measures the recipe on the built-in tune."""
    recipe = get("music") if recipe is None else recipe
    with tempfile.TemporaryDirectory() as folder:
        gl.audio.write(Path(folder, "tune.wav"), gl.tune.compose(music_seconds, RATE), RATE)
        corpus = gl.Corpus.build(folder, Path(folder, "music.h5"), sample_rate=RATE)
        model, step = training_step(recipe, corpus)
        _, plain_step = training_step(plain(recipe), corpus)
        taken = in_turn({"recipe": step, "plain": plain_step}, 4 * rounds)
        ours, rival = (1e3 * seconds for seconds in taken.values())
        what = f"training step; limit: the aim, {COSTLIER} times the plain stack's"
        rows = [Row(what, ours, rival, COSTLIER * rival, "ms")]
        rows += song_rows(model, corpus[0].samples(0, 8 * RATE), song_seconds, rounds)
        rows += fitting_rows(recipe, corpus, rounds)
    size = recipe.windows["batch_size"], recipe.windows["steps"]
    return rows, (
        f"The recipe `music`: {model.stack.count_params():,} parameters, batches of {size[0]} windows of {size[1]} "
        f"frames, {music_seconds:.0f} s of the built-in tune. The plain stack (the rival of the first row) has the "
        "same layers and reads the same frames, by mean squared error. Weights are read from the cache where they fit."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish(f"music-{keras.backend.backend()}", *measure(rounds=9 if FULL else 5))


if __name__ == "__main__":
    main()
