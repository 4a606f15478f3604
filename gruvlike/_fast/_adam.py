"""Adam on a CPU: the update of a weight in one operation.

Keras writes it as some ten operations, and TensorFlow and torch run each on its own over all the weights: some thirty
times the weights are read or written, which for a large network takes as long as its products. Both have an operation
that does it at once, in seven; XLA, on JAX, makes one.
"""

from typing import Any

import keras

from gruvlike._backend import on_cpu


def fuse_adam(optimizer: Any) -> None:
    """Makes a stock Adam or AdamW, on TensorFlow or torch and a CPU, update each weight in one operation.

    The formula, the state and what is saved of it stay those of Keras. Other optimizers are left alone.

    Args:
        optimizer: A Keras optimizer.

    Example:
        >>> optimizer = keras.optimizers.Adam(0.1)
        >>> fuse_adam(optimizer)
        >>> weight = keras.Variable([1.0, 2.0])
        >>> optimizer.apply([keras.ops.ones(2)], [weight])
        >>> [round(float(value), 3) for value in weight.numpy()]
        [0.9, 1.9]

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    # By module: on torch Keras makes each as a subclass of its own.
    stock = isinstance(optimizer, keras.optimizers.Adam) and type(optimizer).__module__.startswith("keras.")
    if not stock or optimizer.amsgrad or not on_cpu():
        return
    if keras.backend.backend() == "tensorflow":
        _by_tensorflow(optimizer)
    elif keras.backend.backend() == "torch":
        _by_torch(optimizer)


def _by_tensorflow(optimizer: Any) -> None:
    import tensorflow as tf

    if tf.distribute.has_strategy() or "update_step" in vars(optimizer):
        return
    stock = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        if isinstance(gradient, tf.IndexedSlices) or variable.dtype != tf.float32:
            stock(gradient, variable, learning_rate)
            return
        index = optimizer._get_variable_index(variable)
        step = tf.cast(optimizer.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=tf.pow(optimizer.beta_1, step),
            beta2_power=tf.pow(optimizer.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )

    optimizer.update_step = update_step


def _by_torch(optimizer: Any) -> None:
    import torch

    if "_parallel_update_step" in vars(optimizer):
        return
    stock = optimizer._parallel_update_step

    def plain(tensor: Any) -> bool:
        # The operation goes through the memory of all of them in one order, whatever theirs is.
        return tensor.dtype == torch.float32 and not tensor.is_sparse and tensor.is_contiguous()

    def update_all(gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
        values = [variable.value for variable in variables]
        if torch.compiler.is_compiling() or not all(map(plain, (*gradients, *values))):
            stock(gradients, variables, learning_rate)
            return
        indices = [optimizer._get_variable_index(variable) for variable in variables]
        step = int(optimizer.iterations) + 1
        torch._fused_adam_(
            values,
            gradients,
            [optimizer._momentums[index].value for index in indices],
            [optimizer._velocities[index].value for index in indices],
            [],
            [torch.tensor(float(step))] * len(values),
            lr=float(learning_rate),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            weight_decay=0.0,  # Keras does that on its own
            eps=optimizer.epsilon / (1 - optimizer.beta_2**step) ** 0.5,  # torch adds it after correcting the bias
            amsgrad=False,
            maximize=False,
        )

    optimizer._parallel_update_step = update_all
