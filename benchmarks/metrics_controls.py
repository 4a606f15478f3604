"""The values of `gruvlike.metrics` for sounds whose faults are known.

    python benchmarks/metrics_controls.py MUSIC_FOLDER

Half of the tracks are the reference. The sounds are thirty seconds long: music of the other half, as it is and with one
fault each, and noise, a sine and silence of its level. The tables are printed and go into docs/metrics.md.
"""

import argparse
import functools
import logging
from pathlib import Path

import numpy as np
from _page import machine, table, write_block

from gruvlike import LogSpectrum, audio, metrics

RATE, HOP, SECONDS = 16_000, 4000, 30
HOPS = (64, 256, 1000, 1024, 2000, 4000, 8000, 8192, 11_025)
COLUMNS = (
    *("tick_ratio", "tick_level_db", "energy_drift_db", "spectral_convergence", "log_spectral_distance"),
    *("flatness_excess_db", "flux", "pulse", "onset_rate", "copy_score", "copy_score_spectrum", "repetition"),
    "frechet_distance",
)


def middle(samples: np.ndarray, seconds: float) -> np.ndarray:
    """The middle `seconds` of a track."""
    size = round(seconds * RATE)
    start = max(len(samples) - size, 0) // 2
    return samples[start : start + size]


def with_ticks(samples: np.ndarray, hop: int, strength: float) -> np.ndarray:
    """Returns ticks: a random constant in each block, normally distributed, of `strength` times the level."""
    offsets = np.random.default_rng(0).normal(size=len(samples) // hop + 1)
    return samples + strength * level(samples) * np.repeat(offsets, hop)[: len(samples)].astype("float32")


def other_phases(samples: np.ndarray) -> np.ndarray:
    """Returns the sound after a way through magnitudes: the phases were rebuilt."""
    encoder = LogSpectrum(frame_size=1024, hop=256)
    return encoder.decode(encoder.encode(samples))[: len(samples)]


def level(samples: np.ndarray) -> float:
    """RMS."""
    return float(np.sqrt(np.mean(np.square(samples))))


def controls(music: np.ndarray, copied: np.ndarray) -> dict[str, np.ndarray]:
    """Returns sounds by the name of their fault."""
    t = np.arange(len(music)) / RATE
    bar = music[: 2 * RATE + 345]
    return {
        "other music of the folder": music,
        "the same, ticks of 10 %": with_ticks(music, HOP, 0.1),
        "the same, fading by 60 dB": music * np.geomspace(1, 1e-3, len(music)),
        "two seconds of it, looped": np.tile(bar, len(music) // len(bar) + 1)[: len(music)],
        "a copy of the reference, gain -0.3": -0.3 * copied,
        "the same copy, with other phases": other_phases(copied),
        "white noise": level(music) * np.random.default_rng(1).normal(size=len(music)),
        "a sine of 440 Hz": level(music) * np.sqrt(2) * np.sin(2 * np.pi * 440 * t),
        "silence": np.zeros(len(music)),
    }


def controls_table(reference: list[tuple[str, np.ndarray]], music: np.ndarray) -> str:
    """One row for each control, and the reference's own figures."""
    sounds = controls(music, middle(reference[0][1], SECONDS + 5)[: len(music)])
    reports = {name: metrics.report(sound, reference, HOP, RATE) for name, sound in sounds.items()}
    first = next(iter(reports.values()))
    rows = [[name, *(f"{found[column]:.2f}" for column in COLUMNS)] for name, found in reports.items()]
    own = (first.get(f"{column}_reference") for column in COLUMNS)
    rows.append(["the reference itself", *("" if value is None else f"{value:.2f}" for value in own)])
    return table(["sound", *(f"`{column}`" for column in COLUMNS)], rows)


def hops_table(tracks: list[tuple[str, np.ndarray]]) -> str:
    """Lowest and highest reading of the tick measures over a minute of each track, and their answer to ticks."""
    rows = []
    sounds = [middle(samples, 60) for _, samples in tracks if len(samples) >= 60 * RATE]
    for hop in HOPS:
        levels = [metrics.tick_level_db(sound, hop) for sound in sounds]
        ratios = [metrics.tick_ratio(sound, hop) for sound in sounds]
        ticking = [
            np.median([metrics.tick_level_db(with_ticks(sound, hop, strength), hop) for sound in sounds])
            for strength in (0.01, 0.03, 0.1, 0.3)
        ]
        spans = (f"{min(levels):.1f} to {max(levels):.1f}", f"{min(ratios):.2f} to {max(ratios):.2f}")
        rows.append([hop, 60 * RATE // hop, *spans, *(f"{value:.1f}" for value in ticking)])
    header = ("hop", "seams", "`tick_level_db`", "`tick_ratio`", "level at 1 %", "3 %", "10 %", "30 %")
    return table(header, rows)


def sizes_table(tracks: list[tuple[str, np.ndarray]]) -> str:
    """Fréchet distance between random halves of the same music, by the number of vectors a side."""
    embed = functools.partial(metrics.log_mel_statistics, sample_rate=RATE)
    vectors = np.concatenate([embed(samples) for _, samples in tracks])
    rng, rows = np.random.default_rng(0), []
    for size in (10, 30, 100, 300, 1000):
        if 2 * size > len(vectors):
            break
        distances = []
        for _ in range(10):
            chosen = rng.permutation(len(vectors))[: 2 * size]
            distances.append(metrics.frechet_distance(np.asarray, [vectors[chosen[:size]]], [vectors[chosen[size:]]]))
        rows.append([size, f"{np.mean(distances):.0f}", f"{min(distances):.0f} to {max(distances):.0f}"])
    return table(("vectors a side", "mean", "lowest to highest of ten"), rows)


def main() -> None:
    """Measures, prints, and writes docs/metrics.md."""
    logging.getLogger("gruvlike").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of music, at least four tracks")
    folder = parser.parse_args().folder
    tracks = [(path.name, audio.read(path, RATE)) for path in audio.find(folder)]
    reference, others = tracks[::2], tracks[1::2]
    music = middle(others[0][1], SECONDS)
    title = f"`python benchmarks/metrics_controls.py {folder.name}`: {len(tracks)} tracks at {RATE} Hz, hop {HOP}."
    parts = (title, controls_table(reference, music), hops_table(tracks), sizes_table(tracks), machine())
    for name, text in zip(("command", "controls", "hops", "sizes", "machine"), parts, strict=True):
        print(text, end="\n\n")
        write_block("metrics.md", name, text)


if __name__ == "__main__":
    main()
