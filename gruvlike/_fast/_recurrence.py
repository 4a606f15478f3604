"""Backpropagation through time, with one product for the gradient of the recurrent kernel.

In step t a layer multiplies its output h[t-1] of the step before by the recurrent kernel K; its gates turn this
product, the projected input x[t] and the states s[t-1] into the states s[t], of which the first is the output h[t]:

    a[t] = h[t-1] K + bias                 the product: the only large operation of a step
    s[t] = gates(x[t], a[t], s[t-1])

The loss reads K in every step, so its gradient by K is a sum over the steps. With the deltas d[t], the gradients of the
loss by a[t], it is

    dK = h[0]' d[1] + h[1]' d[2] + ... + h[T-1]' d[T]                                            (' is the transpose)

A backend that differentiates the loop by the chain rule computes one term a step: in each it reads and writes a matrix
as large as K. But the sum is one product of two tall matrices, the outputs and the deltas of all steps below each
other. So the layer is differentiated by hand, in three parts:

1. Forward pass, from the first step to the last. It keeps the inputs of the gates and the states before each step.
2. Backward pass, from the last step to the first. It carries the gradient of the states. In each step the backend
   differentiates the gates alone, which gives d[t]; d[t] K' is the part that flows on to h[t-1]. It keeps d[t].
3. After the loop, one product gives dK; the gradient by x[t] comes with the gates, and that of the bias is a sum.

Shapes: batch B, steps T, units H, and G the width of all gates together. Projected inputs are (T, B, G), the kernel is
(H, G), the bias (G,), and each state (B, H). Names that begin with `d_` are gradients of the loss.

References:
    Werbos, "Backpropagation Through Time", Proceedings of the IEEE 78, 1990.
    Appleyard, Kocisky and Blunsom, "Optimizing Performance of Recurrent Neural Networks on GPUs", 2016 (one product
    for all steps).
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras

from gruvlike._contracts import Tensor
from gruvlike._fast._cells import GatedCell

if TYPE_CHECKING:
    from tensorflow import TensorArray

States = tuple[Tensor, ...]


class Kept(NamedTuple):
    """Tensors of the forward pass that the backward pass reads; the steps are the first axis of each."""

    reads: tuple[Tensor, ...]
    """The tensors that the gates read, (T, B, G) each; the last contains the product with the state."""
    states: tuple[Tensor, ...]
    """The states before each step, (T, B, H) each, the output first."""


def recur(
    cell: GatedCell, projected: Tensor, kernel: Tensor, bias: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Takes all steps of a recurrent layer, and knows how to take them backwards.

    Args:
        cell: The equations of the gates.
        projected: The products of the inputs with the kernel, (T, B, G).
        kernel: The recurrent kernel, (H, G).
        bias: The bias of the product with the state, (G,). A cell that is `summed` does not read it.
        states: The states before the first step, (B, H) each, the output first.

    Returns:
        The outputs of all steps, (T, B, H), and the states after the last step.
    """
    run = _recur_in_tensorflow if keras.backend.backend() == "tensorflow" else _recur_in_jax
    outputs, *after = run(cell, *map(keras.ops.convert_to_tensor, (projected, kernel, bias, *states)))
    return outputs, after


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def _recur_in_tensorflow(cell: GatedCell, *given: Tensor) -> tuple[Tensor, ...]:
    import tensorflow as tf

    @tf.custom_gradient
    def run(projected: Tensor, kernel: Tensor, bias: Tensor, *first: Tensor) -> tuple[States, Callable]:
        after, kept = _forward_in_tensorflow(cell, projected, kernel, bias, first)
        outputs = tf.concat([kept.states[0][1:], after[0][None]], axis=0)

        def backward(d_outputs: Tensor, *d_after: Tensor) -> tuple[Tensor, ...]:
            return _backward_in_tensorflow(cell, kernel, bias, kept, d_outputs, d_after)

        return (outputs, *after), backward

    # `run` gets tensors, because TensorFlow passes variables to the gradient function as a separate argument.
    outputs, *after = run(*map(tf.convert_to_tensor, given))
    return tf.ensure_shape(outputs, (given[0].shape[0], *outputs.shape[1:])), *after


def _forward_in_tensorflow(
    cell: GatedCell, projected: Tensor, kernel: Tensor, bias: Tensor, first: States
) -> tuple[States, Kept]:
    import tensorflow as tf

    def step(t: Tensor, states: States, befores: tuple, products: "TensorArray") -> tuple:
        read = cell.reads(projected[t], tf.matmul(states[0], kernel), bias)
        after = _shaped(cell.step(read, states), states)
        befores = tuple(array.write(t, state) for array, state in zip(befores, states, strict=True))
        return t + 1, after, befores, products.write(t, read[-1])

    steps = tf.shape(projected)[0]
    # The products have the shape of the projected inputs. The latter are not kept again where the gates read them.
    start = (0, first, tuple(_array(state, steps) for state in first), _array(projected[0], steps))
    _, after, befores, products = tf.while_loop(lambda t, *_: t < steps, step, start, maximum_iterations=steps)
    reads = (products.stack(),) if cell.summed else (projected, products.stack())
    return after, Kept(reads, tuple(array.stack() for array in befores))


def _backward_in_tensorflow(
    cell: GatedCell, kernel: Tensor, bias: Tensor, kept: Kept, d_outputs: Tensor, d_after: States
) -> tuple[Tensor, ...]:
    import tensorflow as tf

    # The kernel is transposed once, because a product that transposes takes four times as long.
    transposed = tf.transpose(kernel)

    def step(t: Tensor, d_states: States, *arrays: "TensorArray") -> tuple:
        read, states = [one[t] for one in kept.reads], [one[t] for one in kept.states]
        d_states = (d_states[0] + d_outputs[t], *d_states[1:])  # the output is read by the next step and by the loss
        d_read, d_before = _through_gates(cell, read, states, d_states)
        d_before = [d_before[0] + tf.matmul(d_read[-1], transposed), *d_before[1:]]
        return t - 1, _shaped(d_before, d_after), *(a.write(t, d) for a, d in zip(arrays, d_read, strict=True))

    steps = tf.shape(d_outputs)[0]
    start = (steps - 1, d_after, *(_array(read[0], steps) for read in kept.reads))
    _, d_first, *arrays = tf.while_loop(lambda t, *_: t >= 0, step, start, maximum_iterations=steps)
    d_reads = [array.stack() for array in arrays]
    d_projected, deltas = d_reads[0], d_reads[-1]  # both are the same tensor where the cell is summed
    d_kernel = tf.tensordot(kept.states[0], deltas, [[0, 1], [0, 1]])
    d_bias = tf.zeros_like(bias) if cell.summed else tf.reduce_sum(deltas, [0, 1])
    return d_projected, d_kernel, d_bias, *d_first


def _through_gates(
    cell: GatedCell, read: list[Tensor], states: list[Tensor], d_states: States
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the gradients of the tensors that the gates read, and of the states that they start from."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([read, states])
        after = cell.step(read, states)
    return tape.gradient(after, (read, states), d_states, unconnected_gradients="zero")


def _array(like: Tensor, steps: Tensor) -> "TensorArray":
    """Returns an empty array for a tensor like this one in each step."""
    import tensorflow as tf

    return tf.TensorArray(like.dtype, steps, element_shape=like.shape)


def _shaped(found: Sequence[Tensor], like: States) -> States:
    """Returns `found` with the static shapes of `like`: a loop wants them to stay the same."""
    import tensorflow as tf

    return tuple(tf.ensure_shape(one, other.shape) for one, other in zip(found, like, strict=True))


# --- JAX --------------------------------------------------------------------------------------------------------------


def _recur_in_jax(cell: GatedCell, *given: Tensor) -> tuple[Tensor, ...]:
    import jax

    run = jax.custom_vjp(lambda *given: _forward_in_jax(cell, *given)[0])
    run.defvjp(functools.partial(_forward_in_jax, cell), functools.partial(_backward_in_jax, cell))
    return run(*given)


def _forward_in_jax(
    cell: GatedCell, projected: Tensor, kernel: Tensor, bias: Tensor, *first: Tensor
) -> tuple[States, tuple[Tensor, Tensor, Kept]]:
    import jax

    def step(states: States, x: Tensor) -> tuple[States, tuple[States, States]]:
        read = cell.reads(x, states[0] @ kernel, bias)
        return tuple(cell.step(read, states)), (read, states)

    after, kept = jax.lax.scan(step, first, projected)
    kept = Kept(*kept)
    outputs = jax.numpy.concatenate([kept.states[0][1:], after[0][None]])
    return (outputs, *after), (kernel, bias, kept)


def _backward_in_jax(cell: GatedCell, residuals: tuple[Tensor, Tensor, Kept], d_results: States) -> tuple[Tensor, ...]:
    import jax

    kernel, bias, kept = residuals
    d_outputs, *d_after = d_results

    def step(d_states: States, at_t: tuple[Tensor, Kept]) -> tuple[States, States]:
        d_output, (read, states) = at_t
        _, through_gates = jax.vjp(lambda *given: tuple(cell.step(*given)), read, states)
        d_read, d_before = through_gates((d_states[0] + d_output, *d_states[1:]))
        return (d_before[0] + d_read[-1] @ jax.numpy.transpose(kernel), *d_before[1:]), d_read

    d_first, d_reads = jax.lax.scan(step, tuple(d_after), (d_outputs, kept), reverse=True)
    d_projected, deltas = d_reads[0], d_reads[-1]  # both are the same tensor where the cell is summed
    d_kernel = jax.numpy.tensordot(kept.states[0], deltas, [[0, 1], [0, 1]])
    d_bias = jax.numpy.zeros_like(bias) if cell.summed else deltas.sum((0, 1))
    return d_projected, d_kernel, d_bias, *d_first
