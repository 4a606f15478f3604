"""Training: seconds of sound a second and GFLOP/s, against plain Keras on ready spectra, PyTorch, and the matrix peak.

KERAS_BACKEND=tensorflow python benchmarks/train.py
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, in_turn, matrix_peak, publish
from _networks import BLOG, HALF, LAPPED, PAPER, Network
from _torch_rival import Torch
from run import python_with

from gruvlike._projections import project_at_once

_NOTES = (
    "A step is `train_on_batch`: ours takes PCM from the host, plain Keras the same network with spectra that are "
    "ready on the device. PyTorch computes in a process of its own, with Adam and the same clipping of gradients. "
    "Limit: a product of two large float32 matrices, measured before and after."
)


def plain_keras(network: Network, jit_compile: bool | str = "auto", at_once: bool = False) -> Callable[[], Any]:
    """A step of the same network on spectra that are ready on the device."""
    stack = network.make_stack()
    if at_once:
        project_at_once(stack)
    stack.compile(keras.optimizers.Adam(global_clipnorm=1.0), loss="mse", jit_compile=jit_compile)
    frames = network.make_encoder().encode(network.pcm(), padded=False)
    x, y = (keras.ops.convert_to_tensor(part) for part in (frames[:, :-1], frames[:, 1:]))
    return lambda: stack.train_on_batch(x, y)


def ours(network: Network, **options: Any) -> Callable[[], Any]:
    """A step of an AudioModel on PCM."""
    model, pcm = network.make_model(**options), network.pcm()
    return lambda: model.train_on_batch(pcm)


def measure_one(network: Network, steps: int, rounds: int, torch_python: str | None) -> dict[str, float]:
    """Seconds a step of ours, of plain Keras and of PyTorch (where there is one), in turn."""
    actions = {"ours": ours(network), "keras": plain_keras(network)}
    with contextlib.ExitStack() as open_until_measured:
        if torch_python:
            actions["torch"] = open_until_measured.enter_context(Torch(torch_python, network)).step
        for action in actions.values():
            action()  # compiles
        repeated = {name: lambda action=action: [action() for _ in range(steps)] for name, action in actions.items()}
        return {name: taken / steps for name, taken in in_turn(repeated, rounds).items()}


def measure(
    networks: tuple[Network, ...] = (PAPER, HALF, BLOG, LAPPED),
    steps: int = 2,
    rounds: int = 3,
    peak_size: int = 3072,
    torch_python: str | None = None,
) -> tuple[list[Row], str]:
    """Measures all networks, the matrix peak before and after each."""
    rows, steps_taken = [], []
    for network in networks:
        peaks = [matrix_peak(peak_size)]
        taken = measure_one(network, steps, rounds, torch_python)
        peaks.append(matrix_peak(peak_size))
        rate = {name: network.gflop() / each for name, each in taken.items()}
        peak = float(np.mean(peaks))
        played = network.seconds() / taken["ours"]
        what = f"{network.name}, batch {network.batch_size}, T = {network.steps}: {played:.3g} s of sound a second"
        rows.append(
            Row(f"{what}; rival: plain Keras, ready spectra", rate["ours"], rate["keras"], peak, "GFLOP/s", True)
        )
        if "torch" in rate:
            what = f"{network.name}; rival: PyTorch `nn.LSTM`"
            rows.append(Row(what, rate["ours"], rate["torch"], peak, "GFLOP/s", True))
        steps_taken.append(taken["ours"])
        if network.encoder == "HalfDFT":
            rows.append(
                Row("a step, half spectrum; rival: that before, whole", steps_taken[-1], steps_taken[-2], None, "s")
            )
    return rows, _NOTES


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rounds, python = (5 if FULL else 3), python_with("torch")
    publish(f"train-{keras.backend.backend()}", *measure(rounds=rounds, torch_python=python))


if __name__ == "__main__":
    main()
