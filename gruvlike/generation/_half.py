"""Weights in half precision: a step reads half as many bytes of them.

The matrices of LSTM, GRU and Dense layers are copied into that type. A product takes both of its factors in that type
and sums in float32. Torch rounds the sum to that type on a GPU; on a CPU, where its products in half precision take
many times as long, it converts the matrix at each step. States, biases and everything else stay as they are.
"""

from typing import Any

import keras
from keras import ops

from gruvlike._twin import Twin


class HalfTwin(Twin):
    """A twin for single frames that multiplies by copies of the stack's matrices.

    Args:
        stack: As for `Twin`.
        dtype: `"bfloat16"` or `"float16"`.
    """

    def __init__(self, stack: keras.Model, dtype: str):
        self._dtype = dtype
        self._copies: list[tuple[keras.Variable, keras.Variable]] = []
        super().__init__(stack)

    def refresh(self) -> None:
        for copy, weight in self._copies:
            copy.assign(ops.cast(weight.value, self._dtype))

    def _replace(self, layer: Any) -> Any:
        plain = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
        # The kernel of a layer that was quantized or adapted (LoRA) is no variable: such a layer stays.
        if type(plain) is keras.layers.Dense and isinstance(plain.kernel, keras.Variable):
            return _Dense(plain, self._copy(plain.kernel))
        replaced = super()._replace(layer)
        if type(layer) in (keras.layers.LSTM, keras.layers.GRU) and getattr(layer, "reset_after", True):
            half = _LSTMCell if isinstance(layer, keras.layers.LSTM) else _GRUCell
            replaced.cell = half(layer.cell, *map(self._copy, (layer.cell.kernel, layer.cell.recurrent_kernel)))
        return replaced

    def _copy(self, weight: keras.Variable) -> keras.Variable:
        copy = keras.Variable(ops.cast(weight.value, self._dtype), self._dtype, trainable=False, autocast=False)
        self._copies.append((copy, weight))
        return copy


class _Cell(keras.layers.Layer):
    """A stock cell whose two products read `kernel` and `recurrent_kernel` in place of its own."""

    def __init__(self, cell: Any, kernel: keras.Variable, recurrent_kernel: keras.Variable):
        super().__init__(dtype=cell.dtype_policy)
        self.cell, self.kernel, self.recurrent_kernel = cell, kernel, recurrent_kernel
        self.built = True

    def products(self, frame: Any, state: Any) -> tuple[Any, Any]:
        """Returns what the gates read of the frame and of the state, biases included."""
        parts = [_product(frame, self.kernel, self.compute_dtype)]
        parts.append(_product(state, self.recurrent_kernel, self.compute_dtype))
        if self.cell.use_bias:  # a GRU has one for either product, an LSTM one
            biases = ops.reshape(self.cell.bias, (-1, self.kernel.shape[-1]))
            for index in range(biases.shape[0]):
                parts[index] = parts[index] + biases[index]
        return parts[0], parts[1]


class _LSTMCell(_Cell):
    def call(self, frame: Any, states: list, training: bool | None = None) -> tuple[Any, list]:
        hidden, carry = states
        i, f, candidate, o = ops.split(sum(self.products(frame, hidden)), 4, axis=-1)
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        carry = gate(f) * carry + gate(i) * activation(candidate)
        hidden = gate(o) * activation(carry)
        return hidden, [hidden, carry]


class _GRUCell(_Cell):
    def call(self, frame: Any, states: list, training: bool | None = None) -> tuple[Any, list]:
        (hidden,) = states
        (z, r, candidate), (inner_z, inner_r, inner) = (
            ops.split(part, 3, axis=-1) for part in self.products(frame, hidden)
        )
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        z, r = gate(z + inner_z), gate(r + inner_r)
        hidden = z * hidden + (1 - z) * activation(candidate + r * inner)
        return hidden, [hidden]


class _Dense(keras.layers.Layer):
    """A Dense layer whose product reads `kernel` in place of its own."""

    def __init__(self, dense: keras.layers.Dense, kernel: keras.Variable):
        super().__init__(dtype=dense.dtype_policy)
        self.dense, self.kernel = dense, kernel
        self.built = True

    def call(self, frames: Any, mask: Any = None) -> Any:
        rows = ops.reshape(frames, (-1, frames.shape[-1]))  # TensorFlow would read the matrix once for each clip
        outputs = _product(rows, self.kernel, self.compute_dtype)
        outputs = outputs if self.dense.bias is None else outputs + self.dense.bias
        return self.dense.activation(ops.reshape(outputs, (*ops.shape(frames)[:-1], self.kernel.shape[-1])))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return self.dense.compute_output_shape(input_shape)


def _product(rows: Any, matrix: keras.Variable, dtype: str) -> Any:
    """Returns `rows` (B, F) times a matrix in half precision, as `dtype`."""
    backend = keras.backend.backend()
    if backend == "torch" and matrix.value.device.type == "cpu":
        return ops.cast(ops.matmul(ops.cast(rows, "float32"), ops.cast(matrix, "float32")), dtype)
    rows = ops.cast(rows, matrix.dtype)
    if backend == "tensorflow":
        import tensorflow as tf

        product = tf.raw_ops.BatchMatMulV3(x=rows, y=matrix.value, Tout=tf.float32)
    elif backend == "jax":
        import jax

        product = jax.numpy.matmul(rows, matrix.value, preferred_element_type="float32")
    else:
        product = ops.matmul(rows, matrix)
    return ops.cast(product, dtype)
