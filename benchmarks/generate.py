"""Generating: ms a step, against `predict` over the growing past, a stateful twin, and reading the weights once a step.

KERAS_BACKEND=tensorflow python benchmarks/generate.py
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, in_turn, publish, read_seconds, seconds_of
from _networks import BLOG, LAPPED, PAPER, SMALL, Network

import gruvlike as gl

CLIPS = 16
SEED_STEPS = 2


def make_generator(network: Network) -> tuple[gl.Generator, np.ndarray]:
    """A generator, and a seed of two frames."""
    encoder = network.make_encoder()
    generator = gl.Generator(network.make_stack(), encoder=encoder, sample_rate=network.sample_rate)
    seed = np.random.default_rng(0).standard_normal(encoder.span(SEED_STEPS)).astype("float32") / 10
    return generator, seed


def stateful_twin(stack: keras.Model) -> keras.Model:
    """What one would write by hand: the same stack, one frame at a time, keeping its states."""

    def keep(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.RNN):
            config.update(stateful=True)
        elif isinstance(layer, keras.layers.InputLayer):
            config.update(batch_shape=(1, 1, stack.input_shape[-1]))
        return type(layer).from_config(config)

    twin = keras.models.clone_model(
        stack, input_tensors=keras.Input(batch_shape=(1, 1, stack.input_shape[-1])), clone_function=keep
    )
    twin.set_weights(stack.get_weights())
    return twin


def twin_step(twin: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that takes the twin a frame further."""
    if keras.backend.backend() == "jax":  # there `predict_on_batch` forgets the states
        return lambda frame: keras.ops.convert_to_numpy(twin(frame, training=False))
    return twin.predict_on_batch


def growing_past(stack: keras.Model, lengths: tuple[int, ...], total: int, rounds: int) -> float:
    """Seconds a step, on average over `total` steps, of `predict` over all frames so far.

    It is measured at a few lengths; between them the cost is taken to grow in a straight line.
    """
    pasts = {length: np.zeros((1, length, stack.input_shape[-1]), "float32") for length in lengths}
    for past in pasts.values():
        stack.predict(past, verbose=0)  # compiles
    taken = in_turn({str(n): lambda past=past: stack.predict(past, verbose=0) for n, past in pasts.items()}, rounds)
    each = np.interp(np.arange(1, total + 1), lengths, [taken[str(length)] for length in lengths])
    return float(each.mean())


def growth(generator: gl.Generator, seed: np.ndarray, steps: int) -> float:
    """How the last frames of a long song compare with the first in time: 1 is alike."""
    hop, times, frames = generator.encoder.hop, [], []
    start = time.perf_counter()
    for piece in generator.stream(seed, steps=steps):
        times.append(time.perf_counter() - start)
        frames.append(len(piece) / hop)
        start = time.perf_counter()
    each = np.array(times[1:-1]) / np.array(frames[1:-1])  # without what starts and ends the song
    third = max(1, len(each) // 3)
    return float(np.median(each[-third:]) / np.median(each[:third])) if len(each) > 1 else float("nan")


def measure_one(
    network: Network, steps: int, rounds: int, lengths: tuple[int, ...], total: int, long_song: int
) -> tuple[list[Row], list[str]]:
    """Rows and remarks for one network."""
    generator, seed = make_generator(network)
    stack, hop = generator.stack, generator.encoder.hop
    size = sum(w.size for w in map(np.asarray, stack.get_weights()))
    first = seconds_of(lambda: generator.extend(seed, steps=steps))
    generator.extend(seed, steps=steps, clips=CLIPS)
    step, frame = twin_step(stateful_twin(stack)), np.zeros((1, 1, stack.input_shape[-1]), "float32")
    step(frame)
    taken = in_turn(
        {
            "one": lambda: generator.extend(seed, steps=steps),
            "many": lambda: generator.extend(seed, steps=steps, clips=CLIPS),
            "twin": lambda: [step(frame) for _ in range(steps)],
            "longer": lambda: generator.extend(seed, steps=2 * steps + 1),
        },
        rounds,
    )
    one, many = (1e3 * taken[name] / (steps + SEED_STEPS) for name in ("one", "many"))
    by_twin = 1e3 * taken["twin"] / steps
    limit = 1e3 * read_seconds(4 * size)
    past = 1e3 * growing_past(stack, lengths, total, rounds)
    real_time = hop / network.sample_rate / one * 1e3
    name = f"{network.name}, {size / 1e6:.1f} M parameters"
    rows = [
        Row(f"{name}: {real_time:.3g} times real time; rival: `predict` over the past", one, past, limit, "ms a step"),
        Row("the same; rival: a stateful twin, a call a step", one, by_twin, limit, "ms a step"),
        Row(f"{CLIPS} clips at once, for all; rival: one by one", many, CLIPS * one, limit, "ms a step"),
    ]
    late = growth(generator, seed, long_song)
    return rows, [
        f"- {name}: {CLIPS} clips cost {many / one:.2f} times one. The first song took {first - taken['one']:.2f} s "
        f"longer: that is compiling. Twice the length took {taken['longer'] / taken['one']:.2f} times as long. "
        f"The last third of {long_song} steps took {late:.2f} times the first third."
    ]


def measure(
    networks: tuple[Network, ...] = (PAPER, BLOG, LAPPED, SMALL),
    seconds: float = 2.0,
    rounds: int = 3,
    lengths: tuple[int, ...] = (50, 200, 1000),
    total: int = 1000,
    long_song: int = 2000,
) -> tuple[list[Row], str]:
    """Measures all networks; a run takes about `seconds`, by the bytes of the weights."""
    rows, remarks = [], []
    for network in networks:
        weights = sum(int(np.prod(w.shape)) for w in network.make_stack().weights)
        steps = int(np.clip(seconds / (weights * 4 / 20e9 + 1e-4), 4, long_song))
        found, said = measure_one(network, steps, rounds, lengths, total, long_song)
        rows += found
        remarks += said
    text = "\n".join(remarks)
    return rows, (
        "Ours is a whole call of `Generator.extend`, decoding included, over its steps. `predict` over the past is "
        f"measured at {', '.join(map(str, lengths))} frames and averaged over {total} steps. Limit: reading the "
        f"weights once a step, as fast as a product of a matrix of that size and a vector reads them.\n\n{text}"
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish(f"generate-{keras.backend.backend()}", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
