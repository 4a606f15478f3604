"""Recurrent layers on a CPU: the inputs of all steps are multiplied by the kernel in one product.

Keras multiplies the input of each step on its own, and so reads the whole kernel for a few rows, once a step. These
products do not depend on the steps before. One product of the inputs of all steps gives the same numbers, and comes
closer to the speed of the processor. On a GPU cuDNN does this itself.
"""

import functools
import inspect
from collections.abc import Sequence
from typing import Protocol

import keras
from keras import ops

from gruvlike._contracts import Tensor
from gruvlike._fast._cells import GatedCell, GRUGates, LSTMGates
from gruvlike._fast._names import has_names
from gruvlike._fast._recurrence import recur
from gruvlike._fast._torch import TorchLoop, has_operation

_OTHERWISE = "recurrent layers train"


class InnerLoop(Protocol):
    """All steps of a recurrent layer, as Keras calls them: the last output, all outputs, the states after them."""

    def __call__(
        self, sequences: Tensor, initial_state: Sequence[Tensor], mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]: ...


def batch_inputs(stack: keras.Model) -> list[str]:
    """Makes the stock LSTM and GRU layers of a stack multiply the inputs of all steps in one product.

    Sets `inner_loop` on each of these layers. On torch they leave all their steps to one operation of torch's own.

    Args:
        stack: Any Keras model. Layers that are not built, have dropout inside or another formula stay as they are.

    Returns:
        The names of the layers that are faster now.

    Example:
        >>> import numpy as np
        >>> stack = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2, return_sequences=True)])
        >>> frames = np.ones((1, 4, 3), "float32")
        >>> before = stack.predict(frames, verbose=0)
        >>> len(batch_inputs(stack))
        1
        >>> bool(np.allclose(stack.predict(frames, verbose=0), before, atol=1e-6))
        True
    """
    if not has_names(stack, "_flatten_layers", otherwise=_OTHERWISE):
        return []
    found = []
    for layer in filter(_is_stock, stack._flatten_layers(include_self=False)):
        loop = _faster_loop(layer)
        if loop is not None:
            layer.inner_loop = loop
            found.append(layer.name)
    return found


def _is_stock(layer: keras.Layer) -> bool:
    """Whether a layer computes as `GatedCell` does."""
    if type(layer) not in (keras.layers.LSTM, keras.layers.GRU) or not layer.built or layer.unroll:
        return False
    # An activation that is a layer may have weights of its own.
    plain = all(map(inspect.isfunction, (layer.activation, layer.recurrent_activation)))
    return plain and not (layer.dropout or layer.recurrent_dropout) and getattr(layer, "reset_after", True)


def _faster_loop(layer: keras.Layer) -> InnerLoop | None:
    """Returns the loop that takes the place of that of a stock layer, or `None` if nothing is faster."""
    if not has_names(type(layer), "inner_loop", otherwise=_OTHERWISE):
        return None
    if not has_names(layer.cell, "kernel", "recurrent_kernel", "bias", otherwise=_OTHERWISE):
        return None
    if keras.backend.backend() == "torch":
        return TorchLoop(layer) if has_operation(layer) else None
    return BatchedLoop(layer)


class BatchedLoop:
    """The loop of one stock layer; masks go the stock way.

    Args:
        layer: A stock layer, built.
    """

    def __init__(self, layer: keras.Layer):
        self.layer = layer
        self.stock: InnerLoop = functools.partial(type(layer).inner_loop, layer)
        self.cell: GatedCell = (LSTMGates if isinstance(layer, keras.layers.LSTM) else GRUGates)(layer.cell)

    def __call__(
        self, sequences: Tensor, initial_state: Sequence[Tensor], mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Takes all steps of sequences (B, T, F); Keras calls this."""
        if mask is not None:
            return self.stock(sequences, initial_state, mask, training)
        projected = self.cell.project(ops.flip(sequences, 1) if self.layer.go_backwards else sequences)
        kernel, bias = self.layer.cell.recurrent_kernel, self.cell.state_bias()
        outputs, states = recur(self.cell, ops.swapaxes(projected, 0, 1), kernel, bias, initial_state)
        return outputs[-1], ops.swapaxes(outputs, 0, 1), states
