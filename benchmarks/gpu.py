"""Training and generating on an accelerator, in float32 and in mixed precision, against its own matrix peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py

Needs keras, h5py, numpy and one backend, and this checkout; under 8 minutes. Without an accelerator it says so and
measures nothing.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare checkout: gruvlike is not installed

import keras
import numpy as np
from _measure import Row, accelerator, in_turn, matrix_peak, publish, seconds_of
from _networks import BLOG, HALF, LAPPED, PAPER, SMALL, Network

import gruvlike as gl

logger = logging.getLogger(__name__)
SECONDS = 400.0  # after which no further network is begun


def evidence_of_cudnn(network: Network) -> str:
    """What shows that the recurrent layers of a stack run in cuDNN.

    Raises:
        RuntimeError: if nothing does.
    """
    stack = network.make_stack()
    frames = keras.ops.ones((2, 8, stack.input_shape[-1]))
    found = {"tensorflow": _ops_of_tensorflow, "jax": _program_of_jax, "torch": _profile_of_torch}
    names = sorted(name for name in found[keras.backend.backend()](stack, frames) if "cudnn" in name.lower())
    if not any("rnn" in name.lower() for name in names):
        raise RuntimeError(f"cuDNN is not used by the recurrent layers of {network.name!r}. Found of it: {names}.")
    return names[0]


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


def wait_for(model: keras.Model) -> None:
    """Waits until the device is done: reads a number that the last step wrote."""
    keras.ops.convert_to_numpy(model.trainable_variables[0].value[:1])


def training(network: Network, steps: int, rounds: int) -> float:
    """Seconds a training step, PCM from the host included."""
    model, pcm = network.make_model(), network.pcm()
    many = np.concatenate([pcm] * steps)

    def train() -> None:
        model.fit(many, batch_size=network.batch_size, verbose=0)
        wait_for(model)

    train()  # compiles
    return in_turn({"train": train}, rounds)["train"] / steps


def generating(network: Network, clips: int, steps: int, rounds: int) -> float:
    """Seconds a step of generation."""
    stack = network.make_stack()
    encoder = gl.TimeBlocks(stack.input_shape[-1])  # so that the host transforms nothing: that needs scipy
    generator = gl.Generator(stack, encoder=encoder, sample_rate=network.sample_rate)
    seed = np.random.default_rng(0).standard_normal(2 * encoder.hop).astype("float32") / 10

    def generate() -> None:
        for _ in generator.stream(seed, steps=steps, clips=clips):
            pass

    generate()  # compiles
    return in_turn({"generate": generate}, rounds)["generate"] / (steps + 2)


def read_rate(size: int) -> float:
    """Bytes a second that the device reads and writes."""
    array = keras.ops.ones((size // 4,))

    def copies(count: int) -> None:
        copied = array
        for _ in range(count):
            copied = copied + 1.0
        keras.ops.convert_to_numpy(copied[:1])

    copies(2)
    return 2 * size * 20 / min(seconds_of(lambda: copies(20)) for _ in range(3))


def jobs(networks: tuple[Network, ...], policy: str, sizes: dict[str, int]) -> Iterator[Callable[[], Row]]:
    """Yields what is to be measured under a dtype policy, one network after the other."""
    peak = matrix_peak(sizes["matrix"], keras.dtype_policies.get(policy).compute_dtype, repeats=20) / 1e3
    rate = read_rate(sizes["bytes"])
    for network in networks:
        yield partial(train_row, network, policy, sizes, peak)
        for clips in (1, 16):
            yield partial(generate_row, network, policy, sizes, clips, rate)


def train_row(network: Network, policy: str, sizes: dict[str, int], peak: float) -> Row:
    """How much of the matrix peak (in TFLOP/s) training reaches."""
    rate = network.gflop() / training(network, sizes["steps"], sizes["rounds"]) / 1e3
    what = f"training, {policy}, {network.name}, batch {network.batch_size}, T = {network.steps}"
    return Row(what, rate, None, peak, "TFLOP/s", more_is_better=True)


def generate_row(network: Network, policy: str, sizes: dict[str, int], clips: int, rate: float) -> Row:
    """How close a step of generation comes to reading the float32 weights once."""
    taken = generating(network, clips, 10 * sizes["steps"], sizes["rounds"])
    size = 4 * sum(int(np.prod(w.shape)) for w in network.make_stack().weights)
    return Row(
        f"generating, {policy}, {network.name}, clips: {clips}", 1e3 * taken, None, 1e3 * size / rate, "ms a step"
    )


def measure(
    networks: tuple[Network, ...] = (PAPER, HALF, BLOG, LAPPED, SMALL),
    policies: tuple[str, ...] = ("float32", "mixed_bfloat16"),
    sizes: dict[str, int] | None = None,
    seconds: float = SECONDS,
) -> list[Row]:
    """Measures all networks under all policies."""
    sizes = sizes or {"matrix": 8192, "bytes": 2**30, "steps": 20, "rounds": 3}
    start, rows = time.monotonic(), []
    before = keras.config.dtype_policy()
    try:
        for index, policy in enumerate(policies, 1):
            keras.config.set_dtype_policy(policy)
            for job in jobs(networks, policy, sizes):
                if time.monotonic() - start > seconds * index / len(policies):
                    logger.warning("The time is up: not all networks are measured in %s.", policy)
                    break
                try:
                    rows.append(job())
                except Exception:  # whatever one network fails of (memory, a missing kernel), the others are measured
                    logger.exception("Not measured: %s", job)
                else:
                    logger.info(" | ".join(rows[-1].cells()))
    finally:
        keras.config.set_dtype_policy(before)
    return rows


def main() -> int:
    """Measures and writes, where there is an accelerator; returns the exit code: 1 where cuDNN is not used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device, backend = accelerator(), keras.backend.backend()
    if device is None:
        logger.info("gpu, %s: skipped, there is no accelerator here.", backend)
        return 0
    code = 0
    try:
        evidence = f"cuDNN is used: {evidence_of_cudnn(LAPPED)}."
    except RuntimeError as error:
        evidence, code = f"**{error}**", 1
    rows = measure()
    publish(
        f"gpu-{backend}",
        rows,
        f"{device}, {backend}. {evidence} PCM travels to the device and is transformed there. Limits: a product of two "
        "large matrices in the same precision; reading the weights once a step at the speed of a copy in the device.",
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
