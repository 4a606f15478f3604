"""Choices: how the recurrent layers are computed while they train on a CPU, with and without XLA.

KERAS_BACKEND=tensorflow python benchmarks/choices.py
"""

import logging

from _measure import FULL, Row, in_turn, matrix_peak, publish
from _networks import BLOG, LAPPED, PAPER, Network
from train import plain_keras

OURS = "one product for all inputs"
CHOICES = {
    OURS: {"at_once": True, "jit_compile": False},
    f"{OURS}, XLA": {"at_once": True, "jit_compile": True},
    "a product for each step, as Keras does": {"at_once": False, "jit_compile": False},
    "a product for each step, XLA": {"at_once": False, "jit_compile": True},
}


def measure(
    networks: tuple[Network, ...] = (PAPER, BLOG, LAPPED), steps: int = 2, rounds: int = 3, peak_size: int = 3072
) -> tuple[list[Row], str]:
    """Measures a training step of each network in each way."""
    rows = []
    for network in networks:
        peak = matrix_peak(peak_size)
        actions = {name: plain_keras(network, **options) for name, options in CHOICES.items()}
        for action in actions.values():
            action()  # compiles
        repeated = {name: lambda action=action: [action() for _ in range(steps)] for name, action in actions.items()}
        taken = {name: seconds / steps for name, seconds in in_turn(repeated, rounds).items()}
        rows += [
            Row(f"{network.name}; rival: {name}", taken[OURS], seconds, network.gflop() / peak, "s a step")
            for name, seconds in taken.items()
            if name != OURS
        ]
    return (
        rows,
        "Stacks on spectra that are ready on the device. Limit: the products alone at the speed of a large one.",
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("choices", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
