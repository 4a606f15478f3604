"""LSTM and GRU with torch on a CPU: all steps, and the way back, in one operation of torch's own.

Keras has torch take the steps one by one from Python, and the chain rule go back the same way. torch has an operation
for each of the two layers, which Keras uses on a GPU alone.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


def has_operation(layer: Any) -> bool:
    """Whether the formula of a stock LSTM or GRU is that of torch's operation."""
    formula = layer.activation, layer.recurrent_activation
    return formula == (keras.activations.tanh, keras.activations.sigmoid) and not layer.unroll


class TorchLoop:
    """Takes the place of `inner_loop` of one stock layer; half precision, masks and other devices go the stock way.

    Args:
        layer: One that `has_operation`.
    """

    def __init__(self, layer: Any):
        self.layer, self.stock = layer, layer.inner_loop

    def __call__(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:
        import torch

        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if traced or mask is not None or sequences.dtype != torch.float32 or sequences.device.type != "cpu":
            return self.stock(sequences, initial_state, mask, training)
        is_lstm = isinstance(self.layer, keras.layers.LSTM)
        run, weights = (torch.lstm, _lstm_weights) if is_lstm else (torch.gru, _gru_weights)
        # Copies: a layer that carries its own states changes them in place, and the way back needs those before.
        states = [keras.ops.convert_to_tensor(state, "float32").clone()[None] for state in initial_state]
        with self._library(is_lstm, sequences):
            outputs, *states = run(
                sequences.flip(1) if self.layer.go_backwards else sequences,
                states if is_lstm else states[0],
                weights(self.layer.cell),
                has_biases=self.layer.use_bias,
                num_layers=1,
                dropout=0.0,
                train=torch.is_grad_enabled(),  # whether there will be a way back
                bidirectional=False,
                batch_first=True,
            )
        return outputs[:, -1], outputs, [state[0] for state in states]

    @contextlib.contextmanager
    def _library(self, is_lstm: bool, sequences: Any) -> Iterator[None]:
        """Has torch compute an LSTM itself where oneDNN, which it calls otherwise, would take longer.

        oneDNN always computes the gradient of the input, which nobody wants of frames: where they are large, half of
        the way back is for nothing.
        """
        import torch

        before = torch.backends.mkldnn.enabled
        unread = is_lstm and torch.is_grad_enabled() and not sequences.requires_grad
        if not unread or sequences.shape[-1] < 4 * self.layer.units:
            yield
            return
        torch.backends.mkldnn.enabled = False
        try:
            yield
        finally:
            torch.backends.mkldnn.enabled = before


def _lstm_weights(cell: Any) -> list[Any]:
    weights = [_value(cell.kernel).T, _value(cell.recurrent_kernel).T]
    if cell.use_bias:  # Keras has one, torch adds a second
        bias = _value(cell.bias)
        weights += [bias, bias.new_zeros(bias.shape)]
    return weights


def _gru_weights(cell: Any) -> list[Any]:
    weights = [_value(cell.kernel).T, _value(cell.recurrent_kernel).T]
    if cell.use_bias:
        weights += list(_value(cell.bias))
    return [_reset_first(weight) for weight in weights]


def _reset_first(weight: Any) -> Any:
    """Returns rows (update, reset, candidate) in the order of torch, which has the reset gate first."""
    import torch

    update, reset, candidate = weight.chunk(3)
    return torch.cat([reset, update, candidate])


def _value(variable: Any) -> Any:
    return keras.ops.convert_to_tensor(variable)
