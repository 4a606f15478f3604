"""Adam on a CPU: the update of a weight in one operation.

Keras writes it as some ten operations, and TensorFlow runs each on its own over all the weights: some thirty times the
weights are read or written, which for a large network takes as long as its products. TensorFlow has an operation that
does it at once, in seven; XLA, on JAX, makes one.
"""

from typing import Any

import keras


def update_at_once(optimizer: Any) -> None:
    """Makes a stock Adam or AdamW, on TensorFlow and a CPU, update each weight in one operation.

    The formula, the state and what is saved of it stay those of Keras. Other optimizers are left alone.

    Args:
        optimizer: A Keras optimizer.

    Example:
        >>> optimizer = keras.optimizers.Adam(0.1)
        >>> update_at_once(optimizer)
        >>> weight = keras.Variable([1.0, 2.0])
        >>> optimizer.apply([keras.ops.ones(2)], [weight])
        >>> [round(float(value), 3) for value in weight.numpy()]
        [0.9, 1.9]

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    stock_types = keras.optimizers.Adam, keras.optimizers.AdamW
    if (
        keras.backend.backend() != "tensorflow"
        or type(optimizer) not in stock_types
        or "update_step" in vars(optimizer)
    ):
        return
    import tensorflow as tf

    if optimizer.amsgrad or tf.distribute.has_strategy() or tf.config.list_logical_devices("GPU"):
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
