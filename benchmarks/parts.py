"""The times of the parts of a training step on a CPU, with TensorFlow.

KERAS_BACKEND=tensorflow python benchmarks/parts.py
"""

import logging
from collections.abc import Callable
from typing import Any

import keras
from _measure import FULL, in_turn, matrix_peak
from _networks import BLOG, HALF, LAPPED, PAPER, Network
from _page import machine, table, write_block

logger = logging.getLogger(__name__)
PAGE = "benchmarks.md"


def actions_of(network: Network) -> dict[str, Callable[[], Any]]:
    """Returns each part of a step as a compiled function; it also computes the earlier parts that it needs."""
    import tensorflow as tf

    model = network.make_model()
    stack, pcm = model.stack, tf.constant(network.pcm())
    frames = tf.convert_to_tensor(keras.ops.copy(model.normalizer(model.encoder.encode(pcm, padded=False))))
    heard, target = tf.identity(frames[:, :-1]), tf.identity(frames[:, 1:])
    weights = [variable.value for variable in stack.trainable_variables]

    def loss() -> Any:
        return tf.reduce_mean(tf.square(stack(heard, training=True) - target))

    def gradients() -> list[Any]:
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, weights)

    # A function returns one number of its result: so the result is not optimized away, and copying it costs nothing.
    encode = tf.function(lambda: tf.reduce_max(model.normalizer(model.encoder.encode(pcm, padded=False))[:, :, :1]))
    forward = tf.function(loss)
    backward = tf.function(lambda: [gradient[:1] for gradient in gradients()])
    ready = gradients()
    update = tf.function(lambda: model.optimizer.apply(ready, stack.trainable_variables))
    return {
        "encode": encode,
        "forward": forward,
        "backward": backward,
        "update": update,
        "step": lambda: model.train_on_batch(pcm),
    }


def measure(
    networks: tuple[Network, ...] = (PAPER, HALF, BLOG, LAPPED), rounds: int = 3, peak_size: int = 3072
) -> tuple[list[tuple], str]:
    """Measures the parts of a step of each network."""
    rows = []
    for network in networks:
        actions = actions_of(network)
        for action in actions.values():
            action()  # compiles
        taken = in_turn(actions, rounds)
        taken["backward"] -= taken["forward"]  # the measured backward pass includes the forward pass
        # A third of the products belongs to the forward pass. The first layer has no gradient of its input.
        forward, whole = network.gflop_forward(), network.gflop()
        rates = forward / taken["forward"], (whole - forward) / max(taken["backward"], 1e-9), matrix_peak(peak_size)
        times = [f"{1e3 * taken[name]:.3g}" for name in ("encode", "forward", "backward", "update", "step")]
        rows.append((network.name, *times, *(f"{rate:.3g}" for rate in rates)))
    return rows, (
        "Milliseconds, each part measured on its own; a whole step also computes metrics, and copies. In the last "
        "columns the GFLOP/s of the products on the way forward and back, beside those of a large product."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if keras.backend.backend() != "tensorflow":
        logger.info("The parts of a step are measured with TensorFlow: skipped.")
        return
    rows, notes = measure(rounds=9 if FULL else 3)
    header = ("network", "encode", "forward", "backward", "update", "step", "forward GFLOP/s", "backward", "peak")
    text = table(header, rows)
    write_block(PAGE, "parts", f"{text}\n\n{notes}\n\n{machine()}")
    logger.info("%s\n%s\n", text, notes)


if __name__ == "__main__":
    main()
