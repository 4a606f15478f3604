"""Choices: how the recurrent layers are computed while they train on a CPU, by one change at a time.

KERAS_BACKEND=tensorflow python benchmarks/choices.py
"""

import logging
from typing import Any

import keras
from _measure import FULL, Row, in_turn, matrix_peak, publish, seconds_of
from _networks import BLOG, LAPPED, PAPER, Network
from train import plain_keras

OURS = "ours"
CHOICES: dict[str, dict[str, Any]] = {
    OURS: {"at_once": True, "jit_compile": False},
    "ours, XLA": {"at_once": True, "jit_compile": True},
    "ours, `mixed_bfloat16`": {"at_once": True, "jit_compile": False, "policy": "mixed_bfloat16"},
    "plain Keras": {"jit_compile": False},
    "plain Keras, `unroll=True`": {"jit_compile": False, "unroll": True},
    "plain Keras, `implementation=1`": {"jit_compile": False, "implementation": 1},
}
LONGEST_UNROLLED = 50  # the graph of more steps takes minutes to compile


def choices_for(network: Network) -> dict[str, dict[str, Any]]:
    """Returns the ways to compile a network on this backend, by name."""
    cell = keras.layers.LSTMCell(1)
    missing = set() if hasattr(cell, "implementation") else {"implementation"}
    if network.steps > LONGEST_UNROLLED:
        missing.add("unroll")
    return {name: options for name, options in CHOICES.items() if not missing & options.keys()}


def measure(
    networks: tuple[Network, ...] = (PAPER, BLOG, LAPPED), steps: int = 1, rounds: int = 3, peak_size: int = 3072
) -> tuple[list[Row], str]:
    """Measures a training step of each network in each way."""
    rows, compiling = [], []
    for network in networks:
        peak = matrix_peak(peak_size)
        actions = {name: plain_keras(network, **options) for name, options in choices_for(network).items()}
        first = {name: seconds_of(action) for name, action in actions.items()}
        repeated = {name: lambda action=action: [action() for _ in range(steps)] for name, action in actions.items()}
        taken = {name: seconds / steps for name, seconds in in_turn(repeated, rounds).items()}
        rows += [
            Row(f"{network.name}; rival: {name}", taken[OURS], seconds, network.gflop() / peak, "s a step")
            for name, seconds in taken.items()
            if name != OURS
        ]
        longer = ", ".join(f"{name} {first[name] - taken[name]:.1f} s" for name in taken)
        compiling.append(f"- {network.name}: the first step took longer, {longer}.")
    return rows, (
        "Stacks on spectra that are ready on the device. Ours: the inputs of all steps in one product, one product for "
        "the gradient of a recurrent kernel, and an update of each weight in one operation. Limit: the products alone "
        f"at the speed of a large one. `unroll` is left out beyond {LONGEST_UNROLLED} steps.\n\n" + "\n".join(compiling)
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("choices", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
