"""Time and memory at the ends of the scale: 10,000 tiny files, 5 GB of RF64, a file of 6 hours, a song of 10 hours.

    python benchmarks/sizes.py [--share 0.01] [--jobs files rf64 ...]

Each job runs in a process of its own, which tells its most memory; pages of mapped files count. It needs 4 GB of disk.
"""

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _page import machine, table, write_block

import gruvlike as gl

RATE = 16_000
HOUR = 3600


def many_files(folder: Path, share: float) -> tuple[str, Callable[[], str]]:
    """10,000 WAV files of a quarter of a second, each another sound."""
    count, random = round(10_000 * share), np.random.default_rng(0)
    for number in range(count):
        samples = random.uniform(-0.5, 0.5, RATE // 4).astype("float32")
        gl.audio.write(folder / f"{number:05d}.wav", samples, RATE)

    def build() -> str:
        corpus = gl.Corpus.build(folder, folder / "music.h5", RATE)
        return f"{len(corpus):,} tracks"

    return f"`Corpus.build` of {count:,} files of 0.25 s", build


def large_rf64(folder: Path, share: float) -> tuple[str, Callable[[], str]]:
    """An RF64 of 5 GB, stereo at 44.1 kHz, that is silent between its first and its last second."""
    path, rate, frames = folder / "large.rf64", 44_100, round(5e9 * share) // 4
    head = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<IQQQI", 28, 72 + 4 * frames, 4 * frames, frames, 0)
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, rate, 4 * rate, 4, 16) + b"data\xff\xff\xff\xff"
    end = np.random.default_rng(0).integers(-9000, 9000, 2 * rate, "<i2").tobytes()
    with open(path, "wb") as file:
        file.write(head + end)
        file.seek(len(head) + 4 * frames - len(end))
        file.write(end)

    def read() -> str:
        seconds = sum(block.size for block in gl.audio.stream(path, RATE)) / RATE
        if abs(seconds - frames / rate) > 1 / RATE:
            raise ValueError(f"It has {frames / rate} s. Received: {seconds} s.")
        return f"{seconds / HOUR:.2f} hours, to the sample"

    return f"`audio.stream` of an RF64 of {path.stat().st_size / 1e9:.1f} GB (sparse)", read


def long_file(folder: Path, share: float) -> tuple[str, Callable[[], str]]:
    """A WAV of six hours at 44.1 kHz: a tune of ten minutes again and again."""
    import soundfile

    tune, path = gl.tune.compose(600 * min(1.0, 50 * share), 44_100), folder / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 1, "PCM_16") as file:
        for _ in range(max(1, round(36 * share))):
            file.write(tune)

    def build() -> str:
        corpus = gl.Corpus.build(path, folder / "music.h5", RATE)
        return f"{corpus.seconds / HOUR:.2f} hours, {corpus.file.stat().st_size / 1e6:.0f} MB"

    return f"`Corpus.build` of one WAV of {path.stat().st_size / 1e9:.1f} GB", build


def long_song(folder: Path, share: float) -> tuple[str, Callable[[], str]]:
    """A song of ten hours of the network of 2015, which nobody trained, streamed into a FLAC file."""
    import soundfile

    encoder, hours = gl.BlockDFT(4000), 10 * share
    tune = gl.tune.compose(20, RATE)
    normalizer = gl.Standardizer().fit(tune, encoder)
    stack = gl.recurrent_stack(encoder.features, cell="lstm", units=(300, 300, 300))
    generator = gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=RATE)

    def stream() -> str:
        done, path = 0, folder / "song.flac"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            for piece in generator.stream(tune[: 8 * RATE], seconds=hours * HOUR):
                file.write(np.clip(piece, -1, 1))
                done += piece.size
        if done != round(hours * HOUR * RATE):
            raise ValueError(f"It has {hours} hours. Received: {done / RATE / HOUR}.")
        return f"{done / RATE / HOUR:.2f} hours, to the sample"

    return f"`Generator.stream` of a song of {hours:g} hours", stream


JOBS = {"files": many_files, "rf64": large_rf64, "file": long_file, "song": long_song}


def measured(name: str, share: float) -> list[str]:
    """Returns a row of the table, measured in this process; the workers of a build are its children."""
    with tempfile.TemporaryDirectory() as folder:
        words, job = JOBS[name](Path(folder), share)
        start = time.perf_counter()
        result = job()
        taken = time.perf_counter() - start
    own, workers = (
        resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return [words, result, f"{taken:.1f} s", f"{own} MB", f"{workers} MB" if workers else "-"]


def main() -> None:
    """Measures each job in a process of its own, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes; the table is only written for all")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--one", choices=JOBS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.share)))
        return
    rows = []
    for name in options.jobs:
        command = [sys.executable, __file__, "--one", name, "--share", str(options.share)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        rows.append(json.loads(output.splitlines()[-1]))
        print(*rows[-1], sep="; ", flush=True)
    if options.share == 1:
        figures = table(["what", "result", "time", "most memory", "of a worker"], rows)
        write_block("measured.md", "sizes", f"`python benchmarks/sizes.py`; {machine()}.\n\n{figures}")


if __name__ == "__main__":
    main()
