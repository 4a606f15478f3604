"""Preparing: `Corpus.build` of Ogg Vorbis to 16 kHz, against the decoders alone, librosa, and the way of 2015.

    python benchmarks/prepare.py

Each way runs in a process of its own, so that its memory is its own.
"""

import argparse
import importlib
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _measure import FULL, Row, cores, peak_memory, publish, seconds_of

import gruvlike as gl

SAMPLE_RATE = 16_000
SOURCE_RATE = 44_100
BLOCK = 4000
STEPS = 40


def write_music(folder: Path, files: int, seconds: float) -> None:
    """Writes `files` stereo files of Ogg Vorbis, alike in sound but not in their bytes (a corpus takes each once)."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    tune = gl.tune.compose(min(seconds, 60.0), SOURCE_RATE)
    with soundfile.SoundFile(folder / "0.ogg", "w", SOURCE_RATE, 2, "VORBIS", format="OGG") as file:
        left = round(seconds * SOURCE_RATE)
        while left > 0:
            for start in range(0, min(left, len(tune)), SOURCE_RATE):
                part = tune[start : start + SOURCE_RATE]
                file.write(np.stack([part, 0.7 * part[::-1]], axis=1))
            left -= len(tune)
    encoded = (folder / "0.ogg").read_bytes()
    for index in range(1, files):
        (folder / f"{index}.ogg").write_bytes(encoded + bytes(index))  # decoders stop before the zeros


def build(folder: Path, cores: int) -> None:
    """Ours."""
    with tempfile.TemporaryDirectory() as out, ThreadPoolExecutor(cores) as pool:
        gl.Corpus.build(folder, Path(out) / "music.h5", sample_rate=SAMPLE_RATE, executor=pool)


def decode(folder: Path, cores: int) -> None:
    """The limit: nothing but decoding and resampling, block by block, on as many cores."""
    import soundfile
    import soxr

    def one(path: Path) -> None:
        with soundfile.SoundFile(path) as file:
            resampler = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            for block in file.blocks(1 << 18, dtype="float32"):
                resampler.resample_chunk((block[:, 0] + block[:, 1]) / 2)
            resampler.resample_chunk(np.zeros(0, "float32"), last=True)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(one, sorted(folder.glob("*.ogg"))))


def load(folder: Path, cores: int) -> None:
    """A plain loop over `librosa.load`, which keeps nothing."""
    import librosa

    for path in sorted(folder.glob("*.ogg")):
        librosa.load(path, sr=SAMPLE_RATE)


def spectra(folder: Path, cores: int) -> None:
    """The way of 2015: blocks, their spectra in float64, and two arrays of examples, all in memory."""
    import librosa

    inputs, targets = [], []
    for path in sorted(folder.glob("*.ogg")):
        samples = librosa.load(path, sr=SAMPLE_RATE)[0].astype("float64")
        blocks = [samples[i : i + BLOCK] for i in range(0, len(samples) - BLOCK + 1, BLOCK)]
        frames = []
        for block in blocks:
            spectrum = np.fft.fft(block)
            frames.append(np.concatenate([spectrum.real, spectrum.imag]))
        for start in range(0, len(frames) - STEPS, STEPS):
            inputs.append(frames[start : start + STEPS])
            targets.append(frames[start + 1 : start + STEPS + 1])
    x, y = (np.array(part, ndmin=3) for part in (inputs, targets))
    mean, std = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    for part in (x, y):
        part -= mean
        part /= np.maximum(std, 1e-8)


WAYS: dict[str, Callable[[Path, int], None]] = {"ours": build, "decode": decode, "librosa": load, "2015": spectra}


def run_way(way: str, folder: Path, cores: int) -> dict[str, float]:
    """Runs one way in this process; returns its seconds and its MB."""
    _import(way, folder)
    with peak_memory() as peak:
        seconds = seconds_of(lambda: WAYS[way](folder, cores))
    return {"seconds": seconds, "mb": peak()}


def _import(way: str, folder: Path) -> None:
    """Imports and compiles the code for the way, so that it is not part of the measured time."""
    for module in ("soundfile", "soxr", *(["gruvlike.corpus"] if way == "ours" else [])):
        importlib.import_module(module)
    if way in ("librosa", "2015"):
        import librosa

        librosa.load(sorted(folder.glob("*.ogg"))[0], sr=SAMPLE_RATE, duration=0.1)


def in_process(way: str, folder: Path, cores: int) -> dict[str, float]:
    """The same in a process of its own, that may use `cores` cores."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder), "--cores", str(cores)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


Taken = dict[str, dict[str, float]]


def measure(
    files: int = 12, seconds: float = 300.0, times: int = 10, rounds: int = 2, run: Callable = in_process
) -> tuple[list[Row], str]:
    """Measures all ways in turn on `files` files of `seconds` each, and ours on `times` as much."""
    with tempfile.TemporaryDirectory() as temporary:
        some, more = Path(temporary) / "some", Path(temporary) / "more"
        write_music(some, files, seconds)
        plan = {**{way: (way, cores()) for way in WAYS}, "alone": ("ours", 1)}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in plan}
        for _ in range(rounds):
            for name, (way, count) in plan.items():
                runs[name].append(run(way, some, count))
        taken = {name: {key: statistics.median(r[key] for r in done) for key in done[0]} for name, done in runs.items()}
        write_music(more, times * files, seconds)
        taken["large"] = run("ours", more, cores())
    hours = files * seconds / 3600
    what = f"{hours:.3g} h of Ogg Vorbis to {SAMPLE_RATE // 1000} kHz, {cores()} cores"
    return [*_against_rivals(what, taken), *_growth(times, hours, taken)], (
        "Limit: decoding with soundfile and resampling with soxr, nothing else, on as many cores. Memory is anonymous "
        "memory beyond what the imports took. The rivals use one core, as they are used."
    )


def _against_rivals(what: str, taken: Taken) -> list[Row]:
    rows = []
    for key, unit, name in (("seconds", "s", what), ("mb", "MB", "peak memory")):
        for way, rival in (("librosa", "`librosa.load` in a loop"), ("2015", "the way of 2015")):
            values = (taken[one][key] for one in ("ours", way, "decode"))
            rows.append(Row(f"{name}; rival: {rival}", *values, unit))
    return rows


def _growth(times: int, hours: float, taken: Taken) -> list[Row]:
    """How the work is shared by all cores, and how time and memory grow with the music."""
    ours, alone, large = (taken[name] for name in ("ours", "alone", "large"))
    rates = (1 / ours["seconds"], 1 / alone["seconds"], cores() / alone["seconds"])
    more = f"{times * hours:.3g} h"
    return [
        Row(f"{cores()} cores; rival: one core; limit: {cores()} times that", *rates, "jobs/s", more_is_better=True),
        Row(f"{more}; limit: {times} times the time", large["seconds"], None, times * ours["seconds"], "s"),
        Row(f"{more}, peak memory; limit: that of {hours:.3g} h", large["mb"], None, ours["mb"], "MB"),
    ]


def main() -> None:
    """Measures and writes; or, with `--way`, runs one way and prints its time and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_way(options.way, options.folder, options.cores)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("prepare", *measure(rounds=5 if FULL else 2))


if __name__ == "__main__":
    main()
