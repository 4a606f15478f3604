"""Styles: is a song in one style closer to music of that style than to music of another?

    TF_NUM_INTRAOP_THREADS=1 python benchmarks/styles.py MUSIC_A MUSIC_B [--judge FILE] [--minutes 5]

One network of the recipe `music`, with the folder of each track as its style, is trained on both folders for five
minutes of one core. It continues openings of both, from music that it has not learned, in each of the two styles, and
each row of the table has the Fréchet distances of the songs to the music of A and to that of B. `--judge` names a
Python file with `embedding_model()` and `patches(samples)`; without it the distance is that of log-mel statistics.

The first 70 % of each track are learned, and are the music that songs are compared with; openings are of the rest.
Writes a table into docs/steering.md. The network stays in --out, where a later call
finds it and sings anew: give other music an --out of its own.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _page import machine, table, write_block
from decoders import Embed, distance, embedding
from sound import Cosine

import gruvlike as gl

RATE, OPENING, SONG = 16_000, 8.0, 12.0
LEARNED, LEAST_SECONDS = 0.7, 30
COUNT = 24  # openings of each music
# How a song is made: the second way leaves all to the network that would lead it back to its seed.
WAYS: dict[str, dict[str, Any]] = {"as by default": {}, "`leash=0, choices=1`": {"leash": 0.0, "choices": 1}}
HEADER = ("songs", "openings of", "style", "patches", "FAD to {}", "FAD to {}")
log = logging.getLogger("styles")


class Music(NamedTuple):
    """The music of one folder.

    Attributes:
        label: Its name.
        learned: The first part of each track.
        openings: Excerpts of the rest.
        following: The music that follows each of them.
    """

    label: str
    learned: list[np.ndarray]
    openings: list[np.ndarray]
    following: list[np.ndarray]


def label_of(folder: Path) -> str:
    """Returns the name of a folder, or that of the one around it where the name says nothing."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in ("music", "sounds") else folder.name


def cut(label: str, tracks: list[np.ndarray], count: int) -> Music:
    """Cuts tracks into the part to learn and some openings."""
    ends = [int(LEARNED * len(track)) for track in tracks]
    size = int((OPENING + SONG) * RATE)
    later = [track[end:] for track, end in zip(tracks, ends, strict=True) if len(track) - end >= size]
    if not later:
        raise ValueError(
            f"A track must have {size / RATE:g} s after its first {LEARNED:.0%}. Received: none, {label!r}."
        )
    random, cuts = np.random.default_rng(0), []
    for number in range(count):
        track = later[number % len(later)]
        start = int(random.integers(len(track) - size + 1))
        cuts.append(track[start : start + size])
    middle = int(OPENING * RATE)
    learned = [track[:end] for track, end in zip(tracks, ends, strict=True)]
    return Music(label, learned, [one[:middle] for one in cuts], [one[middle:] for one in cuts])


def read(folder: Path, count: int) -> Music:
    """Returns the music of a folder; effects and jingles are left out."""
    tracks = [gl.audio.read(path, RATE, high_pass_hz=20.0) for path in gl.audio.find(folder)]
    return cut(label_of(folder), [track for track in tracks if len(track) >= LEAST_SECONDS * RATE], count)


def train(music: tuple[Music, Music], out: Path, minutes: float, **changes: Any) -> gl.AudioModel:
    """Returns the network that has learned both, or that of an earlier call."""
    file = out / "model.keras"
    if file.exists():
        return gl.load(file)
    for one in music:
        folder = out / "train" / one.label
        folder.mkdir(parents=True, exist_ok=True)
        for number, samples in enumerate(one.learned):
            gl.audio.write(folder / f"{number:02}.wav", samples, RATE)
    corpus = gl.Corpus.build(out / "train", out / "train.h5", sample_rate=RATE, high_pass_hz=None)
    recipe = gl.recipes.get("music").change(conditions={"style": "folder"}, split={"validation": 0.0}, **changes)
    model, windows, *_ = recipe.build(corpus)
    model.fit(windows, epochs=10**6, verbose=0, callbacks=[Cosine(None, 60 * minutes)])
    log.info("%d updates", int(model.optimizer.iterations))
    model.save(file)
    return model


def references(music: tuple[Music, Music], embed: Embed) -> list[np.ndarray]:
    """Returns vectors of the music of each, as many of both: a distance depends on their number."""
    vectors = [np.concatenate([embed(track) for track in one.learned]) for one in music]
    count, random = min(map(len, vectors)), np.random.default_rng(0)
    return [one[random.permutation(len(one))[:count]] for one in vectors]


def rows(music: tuple[Music, Music], model: gl.AudioModel, embed: Embed) -> Iterator[list[str]]:
    """Yields the cells of the real music, and of the songs in each way and style."""
    against, generator = references(music, embed), gl.Generator(model)

    def row(name: str, of: str, style: str, sounds: list[np.ndarray]) -> list[str]:
        vectors = np.concatenate([embed(sound) for sound in sounds])
        return [name, of, style, str(len(vectors)), *(f"{distance(one, vectors):.1f}" for one in against)]

    for one in music:
        yield row("the music that follows", one.label, "-", one.following)
    for name, options in WAYS.items():
        for style in (one.label for one in music):
            sung = []
            for one in music:
                songs = list(generator.extend(one.openings, seconds=SONG, style=style, random_seed=1, **options))
                yield row(name, one.label, style, songs)
                sung += songs
            yield row(name, "both", style, sung)


def main() -> None:
    """Trains, sings, measures and writes the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, nargs=2, help="two folders")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training: time of the processor")
    parser.add_argument("--openings", type=int, default=COUNT, help="of each music")
    parser.add_argument("--out", type=Path, default=Path("runs/styles"))
    options = parser.parse_args()
    first, second = (read(folder, options.openings) for folder in options.music)
    model = train((first, second), options.out, options.minutes)
    measured = []
    for row in rows((first, second), model, embedding(options.judge)):
        log.info(" | ".join(row))
        measured.append(row)
    header = [*HEADER[:4], *(HEADER[4].format(one.label) for one in (first, second))]
    seconds = " and ".join(f"{sum(map(len, one.learned)) / RATE:.0f} s of {one.label}" for one in (first, second))
    head = f"`python benchmarks/styles.py`: {seconds} learned for {options.minutes:g} minutes of one core. {machine()}."
    write_block("steering.md", "styles", f"{head}\n\n{table(header, measured)}")


if __name__ == "__main__":
    main()
