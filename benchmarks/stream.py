"""Streams: the price of pieces of few frames, against the same song made as a whole.

KERAS_BACKEND=tensorflow python benchmarks/stream.py
"""

import logging

import keras
from _measure import FULL, Row, in_turn, publish, seconds_of
from _networks import LAPPED, SMALL, Network
from generate import SEED_STEPS, make_generator


def stream_rows(network: Network, steps: int, rounds: int, at_once: tuple[int, ...] = (1, 4, 16)) -> list[Row]:
    """The price of a short latency: a stream in pieces of so many frames; limit: the song as a whole."""
    generator, seed = make_generator(network)
    calls = {"whole": lambda: generator.extend(seed, steps=steps)}
    for count in at_once:
        calls[str(count)] = lambda count=count: list(generator.stream(seed, steps=steps, frames_at_once=count))
    for call in calls.values():
        call()  # compiles
    taken = {name: 1e3 * seconds / (steps + SEED_STEPS) for name, seconds in in_turn(calls, rounds).items()}
    first = {
        count: 1e3 * seconds_of(lambda count=count: next(generator.stream(seed, frames_at_once=count)))
        for count in at_once
    }
    return [
        Row(
            f"{network.name}, `stream` {count} frame{'s' * (count > 1)} at once, first after {first[count]:.1f} ms; "
            "limit: `extend`",
            taken[str(count)],
            None,
            taken["whole"],
            "ms a step",
        )
        for count in at_once
    ]


def measure(
    networks: tuple[Network, ...] = (LAPPED, SMALL), steps: int = 400, rounds: int = 5
) -> tuple[list[Row], str]:
    """Measures streams of 1, 4 and 16 frames at once."""
    rows = [row for network in networks for row in stream_rows(network, steps, rounds)]
    return rows, (
        "The first piece comes from a warm generator, the reading of a seed of two frames included. A piece is a call "
        "of the compiled loop and of the decoder, so fewer frames at once take more time a step."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish(f"stream-{keras.backend.backend()}", *measure(rounds=9 if FULL else 5))


if __name__ == "__main__":
    main()
