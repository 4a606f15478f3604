"""A recurrent layer over its projected input, with one product for the gradient of its kernel.

What the chain rule of a backend makes of a loop multiplies twice a step on the way back, and adds up the gradient of
the kernel step by step: each time the whole of it is read and written. Here the way back keeps what the steps need of
it, and multiplies once, in the end. The gates themselves are left to the chain rule.

Shapes: projected (T, B, G), kernel (H, G), bias (G,), states (B, H), the output first. A step is
`gates(projected, inner, states)`: from its projected input, its inner product and the states before it to the states
after it. Where `summed`, the two products only ever meet as their sum: it is given as `inner`, `projected` is `None`,
and one of them less is kept.
"""

from collections.abc import Callable
from typing import Any

import keras


def recur(
    gates: Callable, summed: bool, projected: Any, kernel: Any, bias: Any, states: list[Any]
) -> tuple[Any, list[Any]]:
    """Returns the outputs of all steps, (T, B, H), and the states after the last one. `summed`: `bias` is not read."""
    loop = _by_tensorflow if keras.backend.backend() == "tensorflow" else _by_jax
    outputs, *after = loop(gates, summed, *map(keras.ops.convert_to_tensor, (projected, kernel, bias, *states)))
    return outputs, after


def _by_tensorflow(gates: Callable, summed: bool, *given: Any) -> tuple[Any, ...]:
    import tensorflow as tf

    def arrays(count: int, like: Any, size: Any) -> list[Any]:
        return [tf.TensorArray(like.dtype, size, element_shape=like.shape) for _ in range(count)]

    @tf.custom_gradient
    def run(projected: Any, kernel: Any, bias: Any, *first: Any) -> tuple[Any, Callable]:
        size = tf.shape(projected)[0]

        def step(t: Any, states: Any, before: Any, inners: Any) -> tuple[Any, ...]:
            inner = tf.matmul(states[0], kernel) + (projected[t] if summed else bias)
            after = gates(None if summed else projected[t], inner, states)
            after = [tf.ensure_shape(new, old.shape) for new, old in zip(after, states, strict=True)]
            before = [array.write(t, state) for array, state in zip(before, states, strict=True)]
            return t + 1, tuple(after), tuple(before), inners.write(t, inner)

        start = (0, first, tuple(arrays(len(first), first[0], size)), *arrays(1, projected[0], size))
        _, after, before, inners = tf.while_loop(lambda t, *_: t < size, step, start, maximum_iterations=size)
        before, inners = [array.stack() for array in before], inners.stack()
        outputs = tf.concat([before[0][1:], after[0][None]], axis=0)

        def back(d_outputs: Any, *d_after: Any) -> tuple[Any, ...]:
            transposed = tf.transpose(kernel)  # once: a product that transposes takes four times as long

            def step(t: Any, d_states: Any, *gradients: Any) -> tuple[Any, ...]:
                read = [inners[t]] if summed else [projected[t], inners[t]]
                states = [array[t] for array in before]
                with tf.GradientTape() as tape:
                    tape.watch([read, states])
                    after = gates(None if summed else read[0], read[-1], states)
                d_states = [d_states[0] + d_outputs[t], *d_states[1:]]
                d_read, d_states = tape.gradient(after, (read, states), d_states, unconnected_gradients="zero")
                d_states = (d_states[0] + tf.matmul(d_read[-1], transposed), *d_states[1:])
                d_states = tuple(tf.ensure_shape(d, old.shape) for d, old in zip(d_states, d_after, strict=True))
                return t - 1, d_states, *(a.write(t, d) for a, d in zip(gradients, d_read, strict=True))

            start = (size - 1, d_after, *arrays(1 if summed else 2, inners[0], size))
            _, d_first, *gradients = tf.while_loop(lambda t, *_: t >= 0, step, start, maximum_iterations=size)
            gradients = [array.stack() for array in gradients]
            d_kernel = tf.tensordot(before[0], gradients[-1], [[0, 1], [0, 1]])
            d_bias = tf.zeros_like(bias) if summed else tf.reduce_sum(gradients[-1], [0, 1])
            return gradients[0], d_kernel, d_bias, *d_first

        return (outputs, *after), back

    # Values: the gradients of variables would have to be asked for by name.
    outputs, *after = run(*map(tf.convert_to_tensor, given))
    return tf.ensure_shape(outputs, (given[0].shape[0], *outputs.shape[1:])), *after


def _by_jax(gates: Callable, summed: bool, *given: Any) -> tuple[Any, ...]:
    import jax
    from jax import numpy as jnp

    def apply(read: Any, states: Any) -> tuple[Any, ...]:
        return tuple(gates(None if summed else read[0], read[-1], states))

    def forward(projected: Any, kernel: Any, bias: Any, *first: Any) -> tuple[Any, Any]:
        def step(states: Any, x: Any) -> tuple[Any, Any]:
            inner = states[0] @ kernel + (x if summed else bias)
            read = (inner,) if summed else (x, inner)
            return apply(read, states), (read, states)

        after, (reads, before) = jax.lax.scan(step, first, projected)
        outputs = jnp.concatenate([before[0][1:], after[0][None]])
        return (outputs, *after), (kernel, bias, reads, before)

    def back(kept: Any, d_results: Any) -> tuple[Any, ...]:
        kernel, bias, reads, before = kept
        d_outputs, *d_after = d_results

        def step(d_states: Any, inputs: Any) -> tuple[Any, Any]:
            d_output, read, states = inputs
            _, pull = jax.vjp(apply, read, states)
            d_read, d_states = pull((d_states[0] + d_output, *d_states[1:]))
            return (d_states[0] + d_read[-1] @ kernel.T, *d_states[1:]), d_read

        d_first, gradients = jax.lax.scan(step, tuple(d_after), (d_outputs, reads, before), reverse=True)
        d_kernel = jnp.tensordot(before[0], gradients[-1], [[0, 1], [0, 1]])
        d_bias = jnp.zeros_like(bias) if summed else gradients[-1].sum((0, 1))
        return gradients[0], d_kernel, d_bias, *d_first

    run = jax.custom_vjp(lambda *given: forward(*given)[0])
    run.defvjp(forward, back)
    return run(*given)
