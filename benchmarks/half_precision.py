"""Generating with weights in half precision: the time of a step, and how far a song goes from that in float32.

    KERAS_BACKEND=tensorflow python benchmarks/half_precision.py

It trains each network for a minute on tunes that the package composes, so that there is a song to compare. Under ten
minutes; fills the block `half-precision` of docs/speed.md.
"""

import logging
import time

import keras
import numpy as np
from _measure import in_turn
from _networks import BLOG, PAPER, Network
from _page import machine, table, write_block

import gruvlike as gl
from gruvlike import tune

DTYPES = (None, "bfloat16", "float16")
AT = (1, 2, 5, 10, 20, 30)  # the seconds of the song at which it is compared with the song in float32


def trained(network: Network, seconds: float) -> tuple[gl.AudioModel, np.ndarray]:
    """A model that has trained for so long, and the seconds of music that it goes on from."""
    rate = network.sample_rate
    music = np.concatenate([tune.compose(30, rate, random_seed) for random_seed in range(4)])
    encoder = network.make_encoder()
    model = gl.AudioModel(encoder, gl.Standardizer().fit(music, encoder), network.make_stack(), sample_rate=rate)
    model.compile("adam")
    rng, size = np.random.default_rng(0), encoder.span(network.steps + 1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        starts = rng.integers(0, len(music) - size, network.batch_size)
        model.train_on_batch(np.stack([music[start : start + size] for start in starts]))
    return model, music[: max(5 * rate, encoder.span(2))]


def rms(samples: np.ndarray) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def distances(song: np.ndarray, plain: np.ndarray, sample_rate: int, at: tuple[int, ...] = AT) -> list[float]:
    """RMS of the difference over that of `plain`: of the whole song, and of the second that ends at each of `at`."""
    seconds = [slice(None)] + [slice((end - 1) * sample_rate, end * sample_rate) for end in at]
    return [rms(song[part] - plain[part]) / max(rms(plain[part]), 1e-12) for part in seconds]


def measure_one(
    network: Network, training_seconds: float, seconds: float, at: tuple[int, ...], rounds: int
) -> list[list[str]]:
    """Rows of the table for one network."""
    model, seed = trained(network, training_seconds)
    generators = {str(dtype or "float32"): gl.Generator(model, dtype=dtype) for dtype in DTYPES}
    songs = {name: each.extend(seed, seconds=seconds) for name, each in generators.items()}  # compiles, too
    short = seed[-model.encoder.span(2) :]
    steps = max(2, round(seconds * model.sample_rate / model.encoder.hop))
    taken = in_turn(
        {name: lambda each=each: each.extend(short, steps=steps) for name, each in generators.items()}, rounds
    )
    size = sum(int(np.prod(w.shape)) for w in model.stack.weights) / 1e6
    rows = []
    for name, song in songs.items():
        far = [
            "0" if name == "float32" else f"{d:.2g}" for d in distances(song, songs["float32"], model.sample_rate, at)
        ]
        step, times = 1e3 * taken[name] / (steps + 2), taken[name] / taken["float32"]
        rows.append([f"{network.name}, {size:.1f} M", name, f"{step:.3g}", f"{times:.2f}", f"{rms(song):.2g}", *far])
    return rows


def measure(
    networks: tuple[Network, ...] = (BLOG, PAPER),
    training_seconds: float = 60.0,
    seconds: float = 30.0,
    at: tuple[int, ...] = AT,
    rounds: int = 3,
) -> str:
    """Measures all networks; returns the text of the block."""
    header = ["network", "weights", "ms a step", "times float32", "RMS of the song", "difference"]
    header += [f"in second {end}" for end in at]
    rows = []
    for network in networks:
        small = network._replace(batch_size=min(8, network.batch_size), steps=min(20, network.steps))  # more updates
        rows += measure_one(small, training_seconds, seconds, at, rounds)
    return (
        f"{table(header, rows)}\n\nOn {keras.backend.backend()}, one clip, after {training_seconds:.0f} s of training. "
        f"Difference: its RMS over that of the song in float32, over {seconds:.0f} s and in single seconds.\n\n"
        f"{machine()}"
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    text = measure()
    logging.getLogger(__name__).info(text)
    write_block("speed.md", "half-precision", text)


if __name__ == "__main__":
    main()
