"""The equations of the stock LSTM and GRU cells, without their product with the input.

That product does not depend on the state, so `gruvlike._fast._inputs` takes it for all steps at once, before the loop.
A step then has one product left, of the state before it with the recurrent kernel, and the gates.

Shapes: batch B, features F, units H, and G the width of all gates together (4 H in an LSTM, 3 H in a GRU).
"""

from collections.abc import Sequence

import keras
from keras import ops

from gruvlike._contracts import Tensor


class GatedCell:
    """A stock cell that is given its input already multiplied by the kernel.

    Args:
        cell: The built cell of a stock layer. Its weights are read at each call, never copied.

    Attributes:
        cell: As given.
        summed: Whether the gates read the two products of a step only as their sum.
    """

    summed: bool

    def __init__(self, cell: keras.Layer):
        self.cell = cell

    def project(self, sequences: Tensor) -> Tensor:
        """Returns the products of all inputs with the kernel, bias included: (B, T, F) -> (B, T, G)."""
        projected = ops.matmul(sequences, self.cell.kernel)
        return projected + self._biases()[0] if self.cell.use_bias else projected

    def state_bias(self) -> Tensor:
        """Returns the bias of the product with the state, (G,); zeros where the cell has none."""
        return self._biases()[1]

    def _biases(self) -> tuple[Tensor | None, Tensor]:
        bias = self.cell.bias if self.cell.use_bias else None
        if bias is None or len(bias.shape) == 1:
            return bias, ops.zeros(self.cell.recurrent_kernel.shape[1:], self.cell.compute_dtype)
        return bias[0], bias[1]  # a GRU has one bias for each of its two products

    def reads(self, projected: Tensor, product: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """Returns the tensors that the gates read, all (B, G); the gradient of the last is that of `product`.

        Args:
            projected: The product of the input with the kernel.
            product: The product of the state with the recurrent kernel, without its bias.
            bias: `state_bias()`.
        """
        return (product + projected,) if self.summed else (projected, product + bias)

    def step(self, read: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
        """Returns the states after a step, each (B, H), the output first.

        Args:
            read: The tensors that `reads` returns.
            states: The states before the step.
        """
        raise NotImplementedError


class LSTMGates(GatedCell):
    """Long short-term memory; its states are the output and the carry."""

    summed = True

    def step(self, read: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
        (_, carry), cell = states, self.cell
        i, f, candidate, o = ops.split(read[0], 4, axis=-1)
        carry = cell.recurrent_activation(f) * carry + cell.recurrent_activation(i) * cell.activation(candidate)
        return [cell.recurrent_activation(o) * cell.activation(carry), carry]


class GRUGates(GatedCell):
    """A gated recurrent unit with `reset_after=True`; its only state is the output."""

    summed = False  # the reset gate scales the candidate's product with the state, and not that with the input

    def step(self, read: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
        (hidden,), cell = states, self.cell
        (z, r, candidate), (inner_z, inner_r, inner_candidate) = (ops.split(one, 3, axis=-1) for one in read)
        z, r = cell.recurrent_activation(z + inner_z), cell.recurrent_activation(r + inner_r)
        return [z * hidden + (1 - z) * cell.activation(candidate + r * inner_candidate)]
