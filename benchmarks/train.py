"""Training: seconds of sound a second and GFLOP/s, against plain Keras on ready spectra, PyTorch, and the matrix peak.

KERAS_BACKEND=tensorflow python benchmarks/train.py
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, in_turn, matrix_peak, publish, seconds_of
from _networks import BLOG, HALF, LAPPED, PAPER, Network
from _torch_rival import Torch, version_of
from run import how_to_get, python_with

from gruvlike._fast import speed_up

_NOTES = (
    "A step is `train_on_batch`: ours takes PCM from the host, encodes and normalizes it; plain Keras is the same "
    "network with normalized spectra that are ready on the device. Limit: a product of two large float32 matrices, "
    "measured before and after."
)


def plain_keras(
    network: Network,
    jit_compile: bool | str = "auto",
    at_once: bool = False,
    unroll: bool = False,
    implementation: int | None = None,
    policy: str | None = None,
) -> Callable[[], Any]:
    """A step of the same network on spectra that are ready on the device; `at_once`: computed as ours."""
    stack = _stack(network, policy or keras.config.dtype_policy().name)
    for layer in stack.layers:
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = unroll
            if implementation is not None:
                layer.cell.implementation = implementation
    stack.compile(keras.optimizers.Adam(global_clipnorm=1.0), loss="mse", jit_compile=jit_compile)
    if at_once:
        stack.optimizer.build(stack.trainable_variables)
        speed_up(stack, stack.optimizer)
    frames = network.frames()
    x, y = (keras.ops.convert_to_tensor(part) for part in (frames[:, :-1], frames[:, 1:]))
    return lambda: stack.train_on_batch(x, y)


def _stack(network: Network, policy: str) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return network.make_stack()
    finally:
        keras.config.set_dtype_policy(before)


def ours(network: Network, **options: Any) -> Callable[[], Any]:
    """A step of an AudioModel on PCM."""
    model, pcm = network.make_model(**options), network.pcm()
    return lambda: model.train_on_batch(pcm)


def measure_one(network: Network, steps: int, rounds: int, torch_python: str | None) -> tuple[dict[str, float], str]:
    """Seconds a step of ours, of plain Keras and of PyTorch (where there is one), in turn; and a remark."""
    actions = {"ours": ours(network), "keras": plain_keras(network)}
    with contextlib.ExitStack() as open_until_measured:
        if torch_python:
            actions["torch"] = open_until_measured.enter_context(Torch(torch_python, network)).step
        first = {name: seconds_of(action) for name, action in actions.items()}
        repeated = {name: lambda action=action: [action() for _ in range(steps)] for name, action in actions.items()}
        taken = {name: seconds / steps for name, seconds in in_turn(repeated, rounds).items()}
    longer = " and ".join(f"{first[name] - taken[name]:.1f} s ({name})" for name in ("ours", "keras"))
    return taken, f"- {network.name}: the first step took {longer} longer: that is compiling."


def arithmetic(whole: Network, half: Network) -> str:
    """Says how many times a step of `whole` can cost a step of `half`, from the counted operations of both."""
    operations, parameters = whole.gflop() / half.gflop(), whole.parameters() / half.parameters()
    return (
        f"- What the half spectrum can gain: {whole.gflop():.3g} operations a step (10^9, matrix products) against "
        f"{half.gflop():.3g} are {operations:.2f} times as many, {whole.parameters() / 1e6:.3g} M parameters to update "
        f"against {half.parameters() / 1e6:.3g} M are {parameters:.2f} times as many: the recurrent layers in between "
        f"stay what they are. At equal speed a step cannot be more than {max(operations, parameters):.2f} times as "
        "fast; what is beyond that, the smaller products and arrays do better."
    )


def measure(
    networks: tuple[Network, ...] = (PAPER, HALF, BLOG, LAPPED),
    steps: int = 2,
    rounds: int = 3,
    peak_size: int = 3072,
    torch_python: str | None = None,
) -> tuple[list[Row], str]:
    """Measures all networks, the matrix peak before and after each."""
    rows, remarks, before = [], [], None
    for network in networks:
        peaks = [matrix_peak(peak_size)]
        taken, said = measure_one(network, steps, rounds, torch_python)
        peaks.append(matrix_peak(peak_size))
        rows += rows_of(network, taken, float(np.mean(peaks)))
        remarks.append(said)
        if network.encoder == "HalfDFT":
            rows.append(Row("a step, half spectrum; rival: that before, whole", taken["ours"], before[1], None, "s"))
            remarks.append(arithmetic(before[0], network))
        before = network, taken["ours"]
    return rows, "\n".join([f"{_NOTES} {about_torch(torch_python)}\n", *remarks])


def rows_of(network: Network, taken: dict[str, float], peak: float) -> list[Row]:
    """The rows of one network: operations a second, of a `peak`."""
    rate = {name: network.gflop() / each for name, each in taken.items()}
    played = network.seconds() / taken["ours"]
    what = f"{network.name}, batch {network.batch_size}, T = {network.steps}: {played:.3g} s of sound a second"
    rows = [Row(f"{what}; rival: plain Keras, ready spectra", rate["ours"], rate["keras"], peak, "GFLOP/s", True)]
    if "torch" in rate:
        what = f"{network.name}; rival: PyTorch `nn.LSTM`"
        rows.append(Row(what, rate["ours"], rate["torch"], peak, "GFLOP/s", True))
    return rows


def about_torch(python: str | None) -> str:
    """Says how the rival in PyTorch computes, or why there is none."""
    if python is None:
        return f"The rows against PyTorch are left out: torch is not installed. {how_to_get('torch')}"
    return (
        f"PyTorch {version_of(python)} computes in a process of its own, on noise that is ready, with Adam and the "
        "same clipping of gradients."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rounds, python = (5 if FULL else 3), python_with("torch")
    publish(f"train-{keras.backend.backend()}", *measure(rounds=rounds, torch_python=python))


if __name__ == "__main__":
    main()
