"""LSTM and GRU with torch on a CPU: all steps of a layer, forward and backward, in one operation of torch.

Keras with torch calls the steps one by one from Python, and their gradients likewise. torch has one operation for a
whole LSTM layer and one for a GRU layer, which Keras uses on a GPU only.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import keras

from gruvlike._fast._names import has_names

if TYPE_CHECKING:
    import torch


def has_operation(layer: keras.Layer) -> bool:
    """Whether torch has an operation for the formula of a stock LSTM or GRU layer."""
    import torch

    formula = layer.activation, layer.recurrent_activation
    if formula != (keras.activations.tanh, keras.activations.sigmoid):
        return False
    name = "lstm" if isinstance(layer, keras.layers.LSTM) else "gru"
    return has_names(torch, name, otherwise="recurrent layers train")


class TorchLoop:
    """The loop of one stock layer; half precision, masks and other devices go the stock way.

    Args:
        layer: A stock layer, built, for which `has_operation` is true.
    """

    def __init__(self, layer: keras.Layer):
        self.layer = layer
        self.stock = functools.partial(type(layer).inner_loop, layer)

    def __call__(
        self,
        sequences: "torch.Tensor",
        initial_state: "Sequence[torch.Tensor]",
        mask: "torch.Tensor | None",
        training: bool = False,
    ) -> "tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]":
        """Takes all steps of sequences (B, T, F); Keras calls this."""
        import torch

        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if traced or mask is not None or sequences.dtype != torch.float32 or sequences.device.type != "cpu":
            return self.stock(sequences, initial_state, mask, training)
        is_lstm = isinstance(self.layer, keras.layers.LSTM)
        run, weights = (torch.lstm, _lstm_weights) if is_lstm else (torch.gru, _gru_weights)
        # The states are copied, because a layer that carries its own changes them in place. The backward pass needs the
        # old ones.
        states = [keras.ops.convert_to_tensor(state, "float32").clone()[None] for state in initial_state]
        with self._fastest_library(is_lstm, sequences):
            outputs, *states = run(
                sequences.flip(1) if self.layer.go_backwards else sequences,
                states if is_lstm else states[0],
                weights(self.layer.cell),
                has_biases=self.layer.use_bias,
                num_layers=1,
                dropout=0.0,
                train=torch.is_grad_enabled(),  # torch then keeps the tensors of the backward pass
                bidirectional=False,
                batch_first=True,
            )
        return outputs[:, -1], outputs, [state[0] for state in states]

    @contextlib.contextmanager
    def _fastest_library(self, is_lstm: bool, sequences: "torch.Tensor") -> Iterator[None]:
        """Switches oneDNN off, during the block, where an LSTM takes less time without it.

        oneDNN always computes the gradient of the layer's input. The frames of a training batch need no gradient: where
        they are large, that is half of the backward pass for nothing.
        """
        import torch

        library = torch.backends.mkldnn
        wasted = is_lstm and torch.is_grad_enabled() and not sequences.requires_grad and hasattr(library, "enabled")
        if not wasted or sequences.shape[-1] < 4 * self.layer.units:
            yield
            return
        before = library.enabled
        library.enabled = False
        try:
            yield
        finally:
            library.enabled = before


def _lstm_weights(cell: keras.Layer) -> "list[torch.Tensor]":
    weights = [_value(cell.kernel).T, _value(cell.recurrent_kernel).T]
    if cell.use_bias:
        bias = _value(cell.bias)
        weights += [bias, bias.new_zeros(bias.shape)]  # torch adds a second bias, Keras has one
    return weights


def _gru_weights(cell: keras.Layer) -> "list[torch.Tensor]":
    weights = [_value(cell.kernel).T, _value(cell.recurrent_kernel).T]
    if cell.use_bias:
        weights += list(_value(cell.bias))
    return [_reset_first(weight) for weight in weights]


def _reset_first(weight: "torch.Tensor") -> "torch.Tensor":
    """Returns rows (update, reset, candidate), as Keras has them, in torch's order (reset, update, candidate)."""
    import torch

    update, reset, candidate = weight.chunk(3)
    return torch.cat([reset, update, candidate])


def _value(variable: keras.Variable) -> "torch.Tensor":
    return keras.ops.convert_to_tensor(variable)
