"""Recurrent layers on a CPU: the products with the input, of all steps, in one.

Keras multiplies the input of each step by the kernel in a product of its own, which reads the whole kernel for a few
rows. What a step reads of the input does not depend on the steps before: one product of all of them is the same, and
comes closer to what the processor can do. cuDNN does this itself.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from gruvlike._backend import on_cpu
from gruvlike._fast._recurrence import recur
from gruvlike._fast._torch import TorchLoop, has_operation


class _Gates(keras.layers.Layer):
    """What is left of a step of a stock cell when its input has been multiplied by the kernel."""

    summed: bool  # whether the two products of a step only ever meet as their sum

    def __init__(self, cell: Any):
        super().__init__(dtype=cell.dtype_policy)
        self.cell, self.state_size, self.output_size = cell, cell.state_size, cell.units
        self.built = True

    def project(self, sequences: Any) -> Any:
        """Returns the products with the input, bias included: (B, T, F) -> (B, T, gates * units)."""
        projected = ops.matmul(sequences, self.cell.kernel)
        return projected + self.biases()[0] if self.cell.use_bias else projected

    def biases(self) -> tuple[Any, Any]:
        """Returns the bias of the product with the input, and that of the product with the state, or 0."""
        bias = self.cell.bias if self.cell.use_bias else None
        if bias is None or len(bias.shape) == 1:
            return bias, ops.zeros(self.cell.recurrent_kernel.shape[1:], self.compute_dtype)
        return bias[0], bias[1]  # a GRU has one for either product

    def call(self, projected: Any, states: list, training: bool | None = None) -> tuple[Any, list]:
        inner = ops.matmul(states[0], self.cell.recurrent_kernel)
        inner = inner + (projected if self.summed else self.biases()[1])
        after = self.step(None if self.summed else projected, inner, states)
        return after[0], after

    def step(self, projected: Any, inner: Any, states: Any) -> list:
        """Returns the states after a step, the output first, from the two products (or their sum) and those before."""
        raise NotImplementedError


class _LSTMGates(_Gates):
    summed = True

    def step(self, projected: Any, inner: Any, states: Any) -> list:
        (_, carry), cell = states, self.cell
        i, f, candidate, o = ops.split(inner, 4, axis=-1)
        carry = cell.recurrent_activation(f) * carry + cell.recurrent_activation(i) * cell.activation(candidate)
        return [cell.recurrent_activation(o) * cell.activation(carry), carry]


class _GRUGates(_Gates):
    summed = False

    def step(self, projected: Any, inner: Any, states: Any) -> list:
        (hidden,), cell = states, self.cell
        (z, r, candidate), (inner_z, inner_r, inner_candidate) = (ops.split(x, 3, axis=-1) for x in (projected, inner))
        z, r = cell.recurrent_activation(z + inner_z), cell.recurrent_activation(r + inner_r)
        return [z * hidden + (1 - z) * cell.activation(candidate + r * inner_candidate)]


def batch_inputs(stack: keras.Model) -> None:
    """Makes the stock LSTM and GRU layers of a stack, on a CPU, multiply the inputs of all steps in one product.

    The layers stay what they are, and so does what is saved of them. Where there is a GPU nothing is done: cuDNN does
    so already. On torch they leave all their steps to one operation of torch's own.

    Args:
        stack: Any Keras model.

    Example:
        >>> import numpy as np
        >>> stack = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2, return_sequences=True)])
        >>> frames = np.ones((1, 4, 3), "float32")
        >>> before = stack.predict(frames, verbose=0)
        >>> batch_inputs(stack)
        >>> bool(np.allclose(stack.predict(frames, verbose=0), before, atol=1e-6))
        True
    """
    if keras.backend.backend() not in ("tensorflow", "jax", "torch") or not on_cpu():
        return
    for layer in _stock(stack):
        if keras.backend.backend() != "torch":
            gates = (_LSTMGates if isinstance(layer, keras.layers.LSTM) else _GRUGates)(layer.cell)
            layer.inner_loop = _InnerLoop(layer, gates)
        elif has_operation(layer) and "inner_loop" not in vars(layer):
            layer.inner_loop = TorchLoop(layer)


def _stock(model: keras.Model) -> Iterator[Any]:
    """Yields the layers that compute what `_Gates` do; those with dropout inside, or of another formula, stay."""
    for layer in model._flatten_layers(include_self=False):
        stock = type(layer) in (keras.layers.LSTM, keras.layers.GRU)
        # An activation that is a layer may have weights of its own.
        stock = stock and all(map(inspect.isfunction, (layer.activation, layer.recurrent_activation)))
        if stock and not (layer.dropout or layer.recurrent_dropout) and getattr(layer, "reset_after", True):
            yield layer


class _InnerLoop:
    """Takes the place of `inner_loop` of one recurrent layer."""

    def __init__(self, layer: Any, gates: _Gates):
        self.gates = gates
        names = ("return_sequences", "go_backwards", "unroll", "zero_output_for_mask")
        options = {name: getattr(layer, name) for name in names}
        self.loop = keras.layers.RNN(gates, dtype=layer.dtype_policy, **options)

    def __call__(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:
        if mask is not None or self.loop.go_backwards or self.loop.unroll:
            return self.loop.inner_loop(self.gates.project(sequences), initial_state, mask, training)
        projected = ops.swapaxes(self.gates.project(sequences), 0, 1)
        kernel, bias = self.gates.cell.recurrent_kernel, self.gates.biases()[1]
        states = [ops.cast(state, projected.dtype) for state in initial_state]
        outputs, states = recur(self.gates.step, self.gates.summed, projected, kernel, bias, states)
        return outputs[-1], ops.swapaxes(outputs, 0, 1), states
