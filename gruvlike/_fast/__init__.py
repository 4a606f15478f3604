"""Faster training on a CPU: replacements for parts of Keras that give the same numbers in less time.

`speed_up` is the only door of this room.
"""

import logging

import keras

from gruvlike._backend import on_cpu
from gruvlike._fast._adam import fuse_adam
from gruvlike._fast._inputs import batch_inputs

logger = logging.getLogger(__name__)


def speed_up(stack: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> None:
    """Makes a stack and its optimizer train in less time on a CPU; the numbers are the same up to rounding.

    It sets attributes on the objects that it is given:

    - `inner_loop` of each stock LSTM and GRU layer, inner models included. On TensorFlow and JAX one product takes the
      inputs of all steps, and one product the gradient of the recurrent kernel; on torch a layer is one operation.
    - `update_step` (TensorFlow) or `_parallel_update_step` (torch) of a stock Adam or AdamW: one operation updates a
      weight.

    Layers, optimizer and saved files stay those of Keras. A copy of them (`keras.models.clone_model`, `copy.deepcopy`,
    pickle, a loaded file) has stock attributes: it gives the same numbers, at the speed of Keras, until it is compiled
    in an `AudioModel` or given to this function.

    It does nothing on a GPU, where cuDNN does the same; with several replicas of `tf.distribute` it leaves the
    optimizer alone. Other layers and optimizers stay as they are, and so do layers with dropout inside, activations
    that are layers, `unroll=True` or `reset_after=False`, and Adam with `amsgrad=True`. Where a version of Keras or of
    its backend lacks a private name that this relies upon, a warning says so, and that part stays as it is.

    Args:
        stack: Any Keras model, built.
        optimizer: The optimizer of the stack, built; `None` changes the stack alone.

    Example:
        >>> stack = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2, return_sequences=True)])
        >>> optimizer = keras.optimizers.Adam()
        >>> optimizer.build(stack.trainable_variables)
        >>> speed_up(stack, optimizer)
        >>> "inner_loop" in vars(stack.layers[0]), "inner_loop" in vars(keras.models.clone_model(stack).layers[0])
        (True, False)
    """
    if keras.backend.backend() not in ("tensorflow", "jax", "torch") or not on_cpu():
        logger.debug("Training is left to Keras: it is made faster on a CPU only.")
        return
    faster = batch_inputs(stack)
    replicas = getattr(getattr(stack, "distribute_strategy", None), "num_replicas_in_sync", 1)
    if optimizer is not None and replicas == 1 and fuse_adam(optimizer):
        faster.append(optimizer.name)
    logger.debug("Made faster than in Keras: %s.", ", ".join(faster) or "nothing")
