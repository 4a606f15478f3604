"""The way back: what is lost from music to frames and back to sound, and the time that it takes.

    python benchmarks/decoders.py MUSIC_FOLDER [MUSIC_FOLDER ...] [--judge FILE]

The first 60 % of each track are for fitting, clips are cut from the next 20 %, the last 20 % are the reference. A clip
goes through log-magnitude frames and their principal components, as a network's frames do, and back to sound. `--judge`
names a Python file with `embedding_model()` and `patches(samples)`, the yardstick's embedding; without it the Fréchet
distance is that of log-mel statistics. Writes a table into docs/sound.md.
"""

import argparse
import functools
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _page import machine, table, write_block

import gruvlike as gl

RATE, FRAME_SIZE, HOP, COMPONENTS = 16_000, 1024, 256, 128
HEADER = (
    *("decoder", "floor, dB", "components", "iterations", "momentum", "frames a piece"),
    *("FAD", "to itself", "error", "times real time"),
)
log = logging.getLogger("decoders")
Embed = Callable[[np.ndarray], np.ndarray]


class Case(NamedTuple):
    """One row: the frames, and the way back from them. `components` and `piece` are None where there are no such."""

    floor_db: float = -78.0
    components: int | None = COMPONENTS
    iterations: int = 16
    momentum: float = 0.99
    piece: int | None = None
    decoder: str = "griffin_lim"

    def cells(self) -> list[str]:
        """The row's first cells."""
        numbers = ["all" if value is None else f"{value:g}" for value in self[:-1]]
        if self.decoder != "griffin_lim":
            numbers[2:4] = "--"
        return [self.decoder, *numbers]


CASES = (
    *(Case(iterations=count) for count in (1, 2, 4, 8, 16, 32, 64)),
    *(Case(iterations=count, piece=piece) for count in (8, 16) for piece in (4, 16, 64)),
    *(Case(momentum=momentum) for momentum in (0.0, 0.5)),
    Case(decoder="unit_selection"),
    *(Case(floor_db=floor, components=None) for floor in (-78.0, -100.0)),
    *(Case(floor_db=-100.0, iterations=count) for count in (8, 16, 32)),
)


def cut(tracks: list[np.ndarray], count: int, size: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Returns the music to fit on, `count` clips of `size` samples that do not overlap, and the reference."""
    marks = [(int(0.6 * len(track)), int(0.8 * len(track))) for track in tracks]
    middles = [track[first:second] for track, (first, second) in zip(tracks, marks, strict=True)]
    places = [(k, start) for k, middle in enumerate(middles) for start in range(0, len(middle) - size + 1, size)]
    chosen = sorted(np.random.default_rng(0).permutation(len(places))[:count])
    clips = [middles[k][start : start + size] for k, start in (places[i] for i in chosen)]
    fitting = [track[:first] for track, (first, _) in zip(tracks, marks, strict=True)]
    return fitting, clips, [track[second:] for track, (_, second) in zip(tracks, marks, strict=True)]


class Channel:
    """Frames as a network predicts them: smoothed by principal components, and within the bounds of the music."""

    def __init__(self, encoder: gl.LogSpectrum, music: list[np.ndarray]):
        frames = np.concatenate([encoder.encode(track, padded=False) for track in music])
        self.mean, self.deviation = frames.mean(axis=0), frames.std(axis=0) + 1e-6
        scaled = (frames - self.mean) / self.deviation
        self.axes = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1].astype("float32")
        self.low, self.high = np.quantile(frames[::4], (0.0005, 0.9995), axis=0)

    def __call__(self, frames: np.ndarray, components: int | None) -> np.ndarray:
        """Returns the frames (T, F) as so many components keep them."""
        if components is None:
            return frames
        axes = self.axes[:, :components]
        kept = (frames - self.mean) / self.deviation @ axes @ axes.T * self.deviation + self.mean
        return np.clip(kept, self.low, self.high).astype("float32")


def spectral_error(encoder: gl.LogSpectrum, frames: np.ndarray, sound: np.ndarray) -> float:
    """The relative error of the magnitudes of a sound that was made of the frames (T, F)."""
    made = encoder.magnitudes(encoder.encode(sound, padded=False)[None])[0]
    wanted = encoder.magnitudes(frames[None, encoder.decoder().context :][:, : len(made)])[0]
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


def decoder_of(case: Case, encoder: gl.LogSpectrum, music: list[np.ndarray]) -> gl.decoders.Decoder:
    """Returns the decoder of a row."""
    if case.decoder == "unit_selection":
        return gl.decoders.UnitSelection(encoder, music)
    return gl.decoders.GriffinLim(encoder, case.iterations, case.momentum)


def decode(case: Case, decoder: gl.decoders.Decoder, frames: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the sound of the frames (T, F), and the seconds of processor time that it took."""
    length = case.piece or len(frames)
    start = time.process_time()
    sound = np.concatenate(list(decoder.stream(frames[i : i + length] for i in range(0, len(frames), length))))
    return sound, time.process_time() - start


def rows(cases: tuple[Case, ...], tracks: list[np.ndarray], embed: Embed, count: int, size: int) -> Iterator[list[str]]:
    """Yields the cells of the clips as they are, and of each case."""
    fitting, clips, reference = cut(tracks, count, size)
    vectors = {
        name: np.concatenate([embed(x) for x in sounds])
        for name, sounds in (("clips", clips), ("reference", reference))
    }
    yield [
        "the clips",
        *"-----",
        f"{distance(vectors['reference'], vectors['clips']):.1f}",
        "0",
        "0",
        "-",
    ]
    for floor_db in sorted({case.floor_db for case in cases}, reverse=True):
        encoder = gl.LogSpectrum(FRAME_SIZE, HOP, floor_db=floor_db)
        channel = Channel(encoder, fitting)
        for case in (case for case in cases if case.floor_db == floor_db):
            frames = [channel(encoder.encode(clip), case.components) for clip in clips]
            decoder = decoder_of(case, encoder, fitting)
            sounds, seconds = zip(*(decode(case, decoder, one) for one in frames), strict=True)
            made = np.concatenate([embed(sound[:size]) for sound in sounds])
            error = np.mean([spectral_error(encoder, *pair) for pair in zip(frames, sounds, strict=True)])
            distances = [f"{distance(vectors[name], made):.1f}" for name in ("reference", "clips")]
            speed = count * size / RATE / sum(seconds)
            yield [*case.cells(), *distances, f"{error:.3f}", f"{speed:.0f}"]


def distance(real: np.ndarray, made: np.ndarray) -> float:
    """The Fréchet distance between as many vectors of each: it depends on their number."""
    count, random = min(len(real), len(made)), np.random.default_rng(0)
    real, made = (vectors[random.permutation(len(vectors))[:count]] for vectors in (real, made))
    flat = [vectors.astype("float32").reshape(-1) for vectors in (real, made)]
    return gl.metrics.frechet_distance(lambda x: x.reshape(-1, real.shape[1]), *flat)


def embedding(judge: Path | None) -> Embed:
    """Returns the embedding of the judge, samples (S,) -> vectors (n, d), or that of log-mel statistics."""
    if judge is None:
        return functools.partial(gl.metrics.log_mel_statistics, sample_rate=RATE)
    spec = importlib.util.spec_from_file_location("judge", judge)
    if spec is None or spec.loader is None:
        raise ValueError(f"--judge must be a Python file. Received: {judge}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.embedding_model()
    return lambda samples: model.predict(module.patches(samples), verbose=0)


def main() -> None:
    """Measures and writes the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, nargs="+", help="folders of music")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=12, help="of each clip")
    options = parser.parse_args()
    tracks = [gl.audio.read(path, RATE) for folder in options.music for path in gl.audio.find(folder)]
    tracks = [track for track in tracks if len(track) > 60 * RATE]
    measured = []
    for row in rows(CASES, tracks, embedding(options.judge), options.clips, round(options.seconds * RATE)):
        log.info(" | ".join(row))
        measured.append(row)
    names = ", ".join(folder.parent.name if folder.name == "music" else folder.name for folder in options.music)
    music = f"{len(tracks)} tracks of {names}, {options.clips} clips of {options.seconds:g} s"
    write_block(
        "sound.md", "decoders", f"`python benchmarks/decoders.py`: {music}. {machine()}.\n\n{table(HEADER, measured)}"
    )


if __name__ == "__main__":
    main()
