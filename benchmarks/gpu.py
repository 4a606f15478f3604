"""Training and generating on an accelerator, in float32 and in mixed precision, against its own matrix peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py

Needs keras, h5py, numpy and one backend, and this checkout; under 8 minutes. Without KERAS_BACKEND it takes the backend
that is there. Without an accelerator it says so and measures nothing.
"""

import argparse
import importlib.util
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare checkout: gruvlike is not installed

if not importlib.util.find_spec("tensorflow"):  # the default of Keras
    os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

import keras
import numpy as np
from _measure import Row, accelerator, in_turn, matrix_peak, publish, seconds_of
from _networks import BLOG, HALF, LAPPED, PAPER, SMALL, Network
from generate import CLIPS, SEED_STEPS, make_generator, stateful_twin, twin_step

import gruvlike as gl

logger = logging.getLogger(__name__)
SECONDS = 400.0  # no further network is started after this time


def fit_for_cudnn(stack: keras.Model) -> keras.Model:
    """Returns `stack`, without cuDNN if that would fail: on JAX cuDNN takes float32 only.

    Keras asks for it all the same, and the error comes when the step is lowered: "Unknown output type bfloat16".
    """
    if keras.backend.backend() == "jax":
        for layer in stack.layers:
            if isinstance(layer, keras.layers.RNN) and layer.compute_dtype != "float32":
                layer.use_cudnn = False
    return stack


def evidence_of_cudnn(network: Network) -> str:
    """Returns the evidence that the recurrent layers of a stack run in cuDNN under the current dtype policy.

    Raises:
        RuntimeError: If there is no evidence.
    """
    stack = fit_for_cudnn(network.make_stack())
    if any(getattr(layer, "use_cudnn", "auto") is False for layer in stack.layers):
        return "not used, JAX has it for float32 alone"
    frames = keras.ops.ones((2, 8, stack.input_shape[-1]))
    found = {"tensorflow": _ops_of_tensorflow, "jax": _program_of_jax, "torch": _profile_of_torch}
    names = sorted(name for name in found[keras.backend.backend()](stack, frames) if "cudnn" in name.lower())
    if not any("rnn" in name.lower() for name in names):
        raise RuntimeError(f"cuDNN is not used by the recurrent layers of {network.name!r}. Found of it: {names}.")
    return f"used ({names[0]})"


def _ops_of_tensorflow(stack: keras.Model, frames: Any) -> set[str]:
    import tensorflow as tf

    traced = tf.function(lambda x: stack(x, training=True), autograph=False).get_concrete_function(frames)
    return {operation.type for operation in traced.graph.get_operations()}


def _program_of_jax(stack: keras.Model, frames: Any) -> set[str]:
    import re

    import jax

    weights = [[v.value for v in part] for part in (stack.trainable_variables, stack.non_trainable_variables)]
    lowered = jax.jit(lambda *a: stack.stateless_call(*a, training=True)[0]).lower(*weights, frames)
    return set(re.findall(r"@(\w+)", lowered.as_text()))


def _profile_of_torch(stack: keras.Model, frames: Any) -> set[str]:
    import torch

    with torch.profiler.profile() as profile:
        stack(frames, training=True)
    return {event.key for event in profile.key_averages()}


class Again(keras.utils.PyDataset):
    """The same batch, from the host, as often as is asked for."""

    def __init__(self, batch: tuple[np.ndarray, ...], steps: int):
        super().__init__()
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.batch


def fitting(model: keras.Model, batch: tuple[np.ndarray, ...], steps: int) -> Callable[[], None]:
    """Returns a function that fits so many steps, and waits until the device is done with them."""

    def fit() -> None:
        model.fit(Again(batch, steps), verbose=0)
        keras.ops.convert_to_numpy(model.trainable_variables[0].value[:1])  # which the last step wrote

    return fit


def training(network: Network, steps: int, rounds: int) -> dict[str, float]:
    """Seconds a training step: ours on PCM, and plain Keras on ready spectra, both from the host.

    A run of a fifth of `steps` is subtracted from a run of `steps`, so that the start of `fit` does not count.
    """
    model, stack = network.make_model(), fit_for_cudnn(network.make_stack())
    fit_for_cudnn(model.stack)
    stack.compile(keras.optimizers.Adam(global_clipnorm=1.0), loss="mse")
    frames, few = network.frames(), max(1, steps // 5)
    jobs = {"ours": (model, (network.pcm(),)), "keras": (stack, (frames[:, :-1], frames[:, 1:]))}
    actions = {(name, n): fitting(*job, n) for name, job in jobs.items() for n in (few, steps + few)}
    for name in jobs:
        actions[name, few]()  # compiles
    taken = in_turn({f"{name} {n}": action for (name, n), action in actions.items()}, rounds)
    return {name: (taken[f"{name} {steps + few}"] - taken[f"{name} {few}"]) / steps for name in jobs}


def generating(network: Network, clips: int, steps: int, rounds: int, dtype: str | None = None) -> dict[str, float]:
    """Seconds a step of generation: ours, transforms on the host included, and a stateful twin, one clip at a time."""
    plain, seed = make_generator(network)
    generator = gl.Generator(plain.stack, encoder=plain.encoder, sample_rate=plain.sample_rate, dtype=dtype)
    twin = twin_step(fit_for_cudnn(stateful_twin(plain.stack)))
    frame, few = np.zeros((1, 1, plain.encoder.features), "float32"), max(1, steps // 10)
    actions = {
        "ours": lambda: sum(map(np.size, generator.stream(seed, steps=steps, clips=clips))),
        "twin": lambda: [twin(frame) for _ in range(few)],
    }
    for action in actions.values():
        action()  # compiles
    taken = in_turn(actions, rounds)
    return {"ours": taken["ours"] / (steps + SEED_STEPS), "twin": clips * taken["twin"] / few}


def copy_rate(size: int) -> float:
    """Bytes a second that the device reads and writes."""
    array = keras.ops.ones((size // 4,))

    def copies(count: int) -> None:
        copied = array
        for _ in range(count):
            copied = copied + 1.0
        keras.ops.convert_to_numpy(copied[:1])

    copies(2)
    return 2 * size * 20 / min(seconds_of(lambda: copies(20)) for _ in range(3))


def jobs(
    networks: tuple[Network, ...], policy: str, sizes: dict[str, int]
) -> Iterator[tuple[str, Callable[[], Row | str]]]:
    """Yields the measurements under a dtype policy by name, one network after the other."""
    peak = matrix_peak(sizes["matrix"], keras.dtype_policies.get(policy).compute_dtype, repeats=20) / 1e3
    rate = copy_rate(sizes["bytes"])
    for network in networks:
        yield f"cuDNN, {policy}, {network.name}", partial(evidence_of_cudnn, network)
        name = f"training, {policy}, {network.name}, batch {network.batch_size}, T = {network.steps}"
        yield name, partial(train_row, name, network, sizes, peak)
        for clips in (1, CLIPS):
            name = f"generating, {policy}, {network.name}, clips: {clips}"
            yield name, partial(generate_row, name, network, sizes, clips, rate)
        if policy == "float32":
            name = f"generating, weights read as bfloat16, {network.name}, clips: 1"
            yield name, partial(generate_row, name, network, sizes, 1, rate, "bfloat16")


def train_row(name: str, network: Network, sizes: dict[str, int], peak: float) -> Row:
    """How much of the matrix peak (in TFLOP/s) training reaches."""
    taken = training(network, sizes["steps"], sizes["rounds"])
    ours, rival = (network.gflop() / taken[way] / 1e3 for way in ("ours", "keras"))
    return Row(name, ours, rival, peak, "TFLOP/s", more_is_better=True)


def generate_row(
    name: str, network: Network, sizes: dict[str, int], clips: int, rate: float, dtype: str | None = None
) -> Row:
    """How close a step of generation comes to reading the weights once."""
    taken = generating(network, clips, 10 * sizes["steps"], sizes["rounds"], dtype)
    size = (4 if dtype is None else 2) * network.parameters()
    return Row(name, 1e3 * taken["ours"], 1e3 * taken["twin"], 1e3 * size / rate, "ms a step")


def measure(
    networks: tuple[Network, ...] = (PAPER, HALF, BLOG, LAPPED, SMALL),
    policies: tuple[str, ...] = ("float32", "mixed_bfloat16"),
    sizes: dict[str, int] | None = None,
    seconds: float = SECONDS,
) -> tuple[list[Row], list[str], list[str]]:
    """Measures all networks under all policies; returns rows, remarks, and failed measurements."""
    sizes = sizes or {"matrix": 8192, "bytes": 2**30, "steps": 100, "rounds": 3}
    start, rows, remarks, missing = time.monotonic(), [], [], []
    before = keras.config.dtype_policy()
    try:
        for index, policy in enumerate(policies, 1):
            keras.config.set_dtype_policy(policy)
            for name, job in jobs(networks, policy, sizes):
                if time.monotonic() - start > seconds * index / len(policies):
                    missing.append(f"{name}: the time was up")
                    continue
                try:
                    found = job()
                except Exception as error:  # after any failure (memory, a missing kernel) the others are still measured
                    logger.exception(name)
                    missing.append(f"{name}: {type(error).__name__}: {str(error).strip().split(chr(10))[0]}")
                    continue
                logger.info(" | ".join(found.cells()) if isinstance(found, Row) else f"{name}: {found}")
                rows += [found] if isinstance(found, Row) else []
                remarks += [] if isinstance(found, Row) else [f"{name}: {found}"]
    finally:
        keras.config.set_dtype_policy(before)
    return rows, remarks, missing


def main() -> int:
    """Measures and writes, where there is an accelerator; returns the exit code: 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device, backend = accelerator(), keras.backend.backend()
    if device is None:
        logger.info("gpu, %s: skipped, there is no accelerator here.", backend)
        return 0
    rows, remarks, missing = measure()
    notes = [
        f"{device}, {backend}. PCM travels to the device and is transformed there. Rivals: plain Keras on ready "
        "spectra from the host; a stateful twin, a call a step and clip. Limits: a product of two matrices in the same "
        "precision; reading the weights once a step at the speed of a copy in the device.",
        "\n".join(f"- {remark}" for remark in remarks),
        "\n".join(f"- **Not measured: {name}**" for name in missing),
    ]
    publish(f"gpu-{backend}", rows, "\n\n".join(filter(None, notes)))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
