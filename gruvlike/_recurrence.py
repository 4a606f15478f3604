"""A recurrent layer over its projected input, with one product for the gradient of its kernel.

What the chain rule of a backend makes of a loop multiplies twice a step on the way back, and adds up the gradient of
the kernel step by step: each time the whole of it is read and written. Here the way back keeps what the steps need of
it, and multiplies once, in the end. The gates themselves are left to the chain rule.

Shapes: projected (T, B, G), kernel (H, G), bias (G,), states (B, H). `gates(projected, inner, states)` takes a step:
from its projected input, its inner product and the states before it (the output first) to the states after it.
"""

from collections.abc import Callable
from typing import Any

import keras


def recur(gates: Callable, projected: Any, kernel: Any, bias: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """Returns the outputs of all steps, (T, B, H), and the states after the last one."""
    loop = _by_tensorflow if keras.backend.backend() == "tensorflow" else _by_jax
    given = map(keras.ops.convert_to_tensor, (projected, kernel, bias, *states))
    outputs, *after = loop(gates, *given)
    return outputs, after


def _by_tensorflow(gates: Callable, *given: Any) -> tuple[Any, ...]:
    import tensorflow as tf

    def arrays(count: int, like: Any, size: Any) -> list[Any]:
        return [tf.TensorArray(like.dtype, size, element_shape=like.shape) for _ in range(count)]

    @tf.custom_gradient
    def run(projected: Any, kernel: Any, bias: Any, *first: Any) -> tuple[Any, Callable]:
        size = tf.shape(projected)[0]
        count = len(first)

        def step(t: Any, states: Any, before: Any, inners: Any) -> tuple[Any, ...]:
            inner = tf.matmul(states[0], kernel) + bias
            after = gates(projected[t], inner, states)
            before = [array.write(t, state) for array, state in zip(before, states, strict=True)]
            return t + 1, tuple(after), tuple(before), inners.write(t, inner)

        start = (0, first, tuple(arrays(count, first[0], size)), *arrays(1, projected[0], size))
        _, after, before, inners = tf.while_loop(lambda t, *_: t < size, step, start, maximum_iterations=size)
        before, inners = [array.stack() for array in before], inners.stack()
        outputs = tf.concat([before[0][1:], after[0][None]], axis=0)

        def back(d_outputs: Any, *d_after: Any) -> tuple[Any, ...]:
            transposed = tf.transpose(kernel)  # once: a product that transposes takes four times as long

            def step(t: Any, d_states: Any, d_projected: Any, d_inners: Any) -> tuple[Any, ...]:
                inputs = projected[t], inners[t], tuple(array[t] for array in before)
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    states = gates(*inputs)
                d_states = [d_states[0] + d_outputs[t], *d_states[1:]]
                d_x, d_inner, d_before = tape.gradient(
                    states, inputs, d_states, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                d_before = (d_before[0] + tf.matmul(d_inner, transposed), *d_before[1:])
                return t - 1, d_before, d_projected.write(t, d_x), d_inners.write(t, d_inner)

            start = (size - 1, d_after, *arrays(2, projected[0], size))
            _, d_first, d_projected, d_inners = tf.while_loop(
                lambda t, *_: t >= 0, step, start, maximum_iterations=size
            )
            d_projected, d_inners = d_projected.stack(), d_inners.stack()
            d_kernel = tf.tensordot(before[0], d_inners, [[0, 1], [0, 1]])
            return d_projected, d_kernel, tf.reduce_sum(d_inners, [0, 1]), *d_first

        return (outputs, *after), back

    # Values: the gradients of variables would have to be asked for by name.
    outputs, *after = run(*map(tf.convert_to_tensor, given))
    return tf.ensure_shape(outputs, (given[0].shape[0], *outputs.shape[1:])), *after


def _by_jax(gates: Callable, *given: Any) -> tuple[Any, ...]:
    import jax
    from jax import numpy as jnp

    def forward(projected: Any, kernel: Any, bias: Any, *first: Any) -> tuple[Any, Any]:
        def step(states: Any, x: Any) -> tuple[Any, Any]:
            inner = states[0] @ kernel + bias
            return tuple(gates(x, inner, states)), (states, inner)

        after, (before, inners) = jax.lax.scan(step, first, projected)
        outputs = jnp.concatenate([before[0][1:], after[0][None]])
        return (outputs, *after), (projected, kernel, before, inners)

    def back(kept: Any, d_results: Any) -> tuple[Any, ...]:
        projected, kernel, before, inners = kept
        d_outputs, *d_after = d_results

        def step(d_states: Any, inputs: Any) -> tuple[Any, Any]:
            d_output, *inputs = inputs
            _, pull = jax.vjp(lambda *given: tuple(gates(*given)), *inputs)
            d_x, d_inner, d_before = pull((d_states[0] + d_output, *d_states[1:]))
            return (d_before[0] + d_inner @ kernel.T, *d_before[1:]), (d_x, d_inner)

        d_first, (d_projected, d_inners) = jax.lax.scan(
            step, tuple(d_after), (d_outputs, projected, inners, before), reverse=True
        )
        d_kernel = jnp.tensordot(before[0], d_inners, [[0, 1], [0, 1]])
        return d_projected, d_kernel, d_inners.sum((0, 1)), *d_first

    run = jax.custom_vjp(lambda *given: forward(*given)[0])
    run.defvjp(forward, back)
    return run(*given)
