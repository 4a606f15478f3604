"""Adam on a CPU: the update of a weight in one operation.

Keras writes the update as some ten operations. TensorFlow and torch run each of them over all the weights, so that a
weight, its gradient and its two averages are read or written some thirty times; in a large network that takes as long
as the matrix products. Both backends have one operation for the whole update, with seven readings and writings. On JAX
XLA joins the operations of Keras into one.
"""

from typing import TYPE_CHECKING

import keras

from gruvlike._contracts import Tensor
from gruvlike._fast._names import has_names

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

_OTHERWISE = "Adam updates the weights"
_STATE = ("_momentums", "_velocities", "_get_variable_index")


def fuse_adam(optimizer: keras.optimizers.Optimizer) -> bool:
    """Makes a stock Adam or AdamW, on TensorFlow or torch, update each weight in one operation.

    Sets `update_step` (TensorFlow) or `_parallel_update_step` (torch) on the optimizer. The formula, the state and the
    saved file stay those of Keras. Other optimizers, and those that are not built, stay as they are.

    Args:
        optimizer: A Keras optimizer, built.

    Returns:
        Whether it is faster now.

    Example:
        >>> optimizer, weight = keras.optimizers.Adam(0.1), keras.Variable([1.0, 2.0])
        >>> optimizer.build([weight])
        >>> fused = fuse_adam(optimizer)
        >>> optimizer.apply([keras.ops.ones(2)], [weight])
        >>> [round(float(value), 3) for value in weight.numpy()]
        [0.9, 1.9]

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    # The module decides, because on torch Keras makes each optimizer as an object of a subclass of its own.
    stock = isinstance(optimizer, keras.optimizers.Adam) and type(optimizer).__module__.startswith("keras.")
    if not stock or optimizer.amsgrad or not optimizer.built:
        return False
    fuse = {"tensorflow": _fuse_in_tensorflow, "torch": _fuse_in_torch}.get(keras.backend.backend())
    return fuse is not None and has_names(optimizer, *_STATE, otherwise=_OTHERWISE) and fuse(optimizer)


def _fuse_in_tensorflow(optimizer: keras.optimizers.Optimizer) -> bool:
    import tensorflow as tf

    if tf.distribute.has_strategy() or not has_names(tf.raw_ops, "ResourceApplyAdam", otherwise=_OTHERWISE):
        return False
    stock = type(optimizer).update_step

    def update_step(gradient: Tensor, variable: "tf.Variable", learning_rate: Tensor) -> None:
        is_plain = not isinstance(gradient, tf.IndexedSlices) and variable.dtype == tf.float32
        update = _update_in_tensorflow if is_plain else stock
        update(optimizer, gradient, variable, learning_rate)

    optimizer.update_step = update_step
    return True


def _update_in_tensorflow(
    optimizer: keras.optimizers.Optimizer, gradient: Tensor, variable: "tf.Variable", learning_rate: Tensor
) -> None:
    import tensorflow as tf

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


def _fuse_in_torch(optimizer: keras.optimizers.Optimizer) -> bool:
    import torch

    if not has_names(torch, "_fused_adam_", otherwise=_OTHERWISE):
        return False
    if not has_names(type(optimizer), "_parallel_update_step", otherwise=_OTHERWISE):
        return False
    stock = type(optimizer)._parallel_update_step

    def update_all(
        gradients: "list[torch.Tensor]", variables: list[keras.Variable], learning_rate: "torch.Tensor"
    ) -> None:
        tensors = [*gradients, *(variable.value for variable in variables)]
        is_plain = not torch.compiler.is_compiling() and all(map(_is_plain, tensors))
        update = _update_in_torch if is_plain else stock
        update(optimizer, gradients, variables, learning_rate)

    optimizer._parallel_update_step = update_all
    return True


def _is_plain(tensor: "torch.Tensor") -> bool:
    """Whether torch's operation, which reads all its tensors in the order of their memory, may read this one."""
    import torch

    return tensor.dtype == torch.float32 and not tensor.is_sparse and tensor.is_contiguous()


def _update_in_torch(
    optimizer: keras.optimizers.Optimizer,
    gradients: "list[torch.Tensor]",
    variables: list[keras.Variable],
    learning_rate: "torch.Tensor",
) -> None:
    import torch

    indices = [optimizer._get_variable_index(variable) for variable in variables]
    step = int(optimizer.iterations) + 1
    torch._fused_adam_(
        [variable.value for variable in variables],
        gradients,
        [optimizer._momentums[index].value for index in indices],
        [optimizer._velocities[index].value for index in indices],
        [],
        [torch.tensor(float(step))] * len(variables),
        lr=float(learning_rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,  # Keras decays the weights in an operation of its own
        eps=optimizer.epsilon / (1 - optimizer.beta_2**step) ** 0.5,  # torch adds it after correcting the bias
        amsgrad=False,
        maximize=False,
    )
