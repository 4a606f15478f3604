"""A stack that multiplies by copies of the matrices of LSTM, GRU and Dense layers, in a faster layout.

Two layouts help on a CPU, where a matrix has many rows:

- transposed, for one clip: a product with one row then reads the matrix from its first to its last byte; in the order
  of Keras, XLA jumps from row to row. That halves the time for a matrix in memory, 22050 x 1024 for instance. On torch
  several clips gain by it, with any matrix.
- strips of some columns, for several clips: XLA computes the products with the strips side by side, one on each core;
  it shares out one product with the whole matrix at twice the time.

In half precision a step reads half as many bytes. A product takes both of its factors in that type and sums in float32.
On a GPU, torch rounds the sum to that type; on a CPU, where its products in half precision take many times as long, it
converts the matrix at each step. States, biases and everything else stay as they are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from gruvlike._backend import on_cpu
from gruvlike._contracts import Shape, Tensor
from gruvlike._step._stateless import StatelessStack

STRIP = 64  # columns: wider and narrower strips gain less


def fastest_layout(clips: int) -> str | None:
    """Returns how float32 matrices are best read for so many clips at once: "transposed", in "strips", or as is."""
    if not on_cpu():
        return None
    if keras.backend.backend() == "torch":
        return "transposed" if clips > 1 else None
    return "strips" if clips > 1 else "transposed"


def lay_out(stack: keras.Model, dtype: str | None, layout: str | None) -> StatelessStack:
    """Returns a stack that reads copies, of type `dtype` or in a `layout`, or (with neither) the weights themselves."""
    if dtype is not None:
        return LaidOutStack(stack, dtype)
    return StatelessStack(stack) if layout is None else LaidOutStack(stack, "float32", layout)


class LaidOutStack(StatelessStack):
    """A stack for single frames that multiplies by copies of its matrices.

    Args:
        stack: As for `StatelessStack`.
        dtype: `"bfloat16"` or `"float16"`, or `"float32"`: then layers that compute in another type keep their own.
        layout: `"transposed"` or `"strips"`: only the matrices that gain by it are copied, in that layout.
    """

    def __init__(self, stack: keras.Model, dtype: str, layout: str | None = None):
        self._dtype, self._layout = dtype, layout
        self._copies: list[tuple[tuple[keras.Variable, ...], keras.Variable]] = []
        super().__init__(stack)

    def refresh(self) -> None:
        for copies, weight in self._copies:
            for copy, values in zip(copies, self._values(weight), strict=True):
                copy.assign(values)

    def _replace(self, layer: keras.Layer) -> keras.Layer:
        plain = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
        stock = type(plain) in (keras.layers.Dense, keras.layers.LSTM, keras.layers.GRU)
        stock = stock and getattr(plain, "quantization_mode", None) is None
        if not stock or (self._dtype == "float32" and {plain.compute_dtype, plain.variable_dtype} != {"float32"}):
            return super()._replace(layer)
        # The kernel of a layer that was quantized or adapted (LoRA) is no variable: such a layer stays.
        if type(plain) is keras.layers.Dense and isinstance(plain.kernel, keras.Variable):
            return _Dense(plain, self._copy(plain.kernel))
        replaced = super()._replace(layer)
        if type(layer) in (keras.layers.LSTM, keras.layers.GRU) and getattr(layer, "reset_after", True):
            cell = _LSTMCell if isinstance(layer, keras.layers.LSTM) else _GRUCell
            replaced.cell = cell(layer.cell, *map(self._copy, (layer.cell.kernel, layer.cell.recurrent_kernel)))
        return replaced

    def _copy(self, weight: keras.Variable) -> "_Factor":
        if self._layout and not _gains(*weight.shape):
            return _Factor((weight,), False)
        copies = []
        for values in self._values(weight):
            copy = keras.Variable(ops.zeros(values.shape), self._dtype, trainable=False, autocast=False)
            # The values are not given at once, because on torch a transposed tensor is the weight itself.
            copy.assign(values)
            copies.append(copy)
        self._copies.append((tuple(copies), weight))
        return _Factor(tuple(copies), self._layout == "transposed")

    def _values(self, weight: keras.Variable) -> Sequence[Tensor]:
        if self._layout == "strips":
            cuts = list(range(STRIP, weight.shape[1], STRIP))
            if keras.backend.backend() == "jax":  # JAX would compile each cut
                return np.split(ops.convert_to_numpy(weight.value), cuts, axis=1)
            return ops.split(weight.value, cuts, axis=1) if cuts else [weight.value]
        values = ops.cast(weight.value, self._dtype)
        return [ops.transpose(values) if self._layout else values]


def _gains(rows: int, columns: int) -> bool:
    """Whether a product with a matrix of that shape takes less time in another layout."""
    return keras.backend.backend() == "torch" or (rows >= 1024 and columns <= 4 * rows)


class _Factor(NamedTuple):
    """The matrix, or the strips of it, that rows are multiplied by."""

    matrices: tuple[keras.Variable, ...]  # (F, G), side by side; or one, (G, F)
    transposed: bool


class _Cell(keras.layers.Layer):
    """A stock cell whose two products read `kernel` and `recurrent_kernel` in place of its own."""

    def __init__(self, cell: keras.Layer, kernel: _Factor, recurrent_kernel: _Factor):
        super().__init__(dtype=cell.dtype_policy)
        self.cell, self.kernel, self.recurrent_kernel = cell, kernel, recurrent_kernel
        self.built = True

    def products(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the products of the frame and of the state with their matrices, biases included."""
        factors = (frame, self.kernel), (state, self.recurrent_kernel)
        parts = [_product(rows, factor, self.compute_dtype) for rows, factor in factors]
        if self.cell.use_bias:  # a GRU has one for either product, an LSTM one
            biases = ops.reshape(self.cell.bias, (-1, self.cell.kernel.shape[-1]))
            for index in range(biases.shape[0]):
                parts[index] = _sum(parts[index], biases[index])
        return parts[0], parts[1]


class _LSTMCell(_Cell):
    def call(self, frame: Tensor, states: list[Tensor], training: bool | None = None) -> tuple[Tensor, list[Tensor]]:
        hidden, carry = states
        i, f, candidate, o = ops.split(_sum(*self.products(frame, hidden)), 4, axis=-1)
        gate, activation = self.cell.recurrent_activation, self.cell.activation
        carry = gate(f) * carry + gate(i) * activation(candidate)
        hidden = gate(o) * activation(carry)
        return hidden, [hidden, carry]


class _GRUCell(_Cell):
    def call(self, frame: Tensor, states: list[Tensor], training: bool | None = None) -> tuple[Tensor, list[Tensor]]:
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

    def __init__(self, dense: keras.layers.Dense, kernel: _Factor):
        super().__init__(dtype=dense.dtype_policy)
        self.dense, self.kernel = dense, kernel
        self.built = True

    def call(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        rows = ops.reshape(frames, (-1, frames.shape[-1]))  # TensorFlow would read the matrix once for each clip
        outputs = _product(rows, self.kernel, self.compute_dtype)
        outputs = outputs if self.dense.bias is None else _sum(outputs, self.dense.bias)
        return self.dense.activation(ops.reshape(outputs, (*ops.shape(frames)[:-1], self.dense.units)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.dense.compute_output_shape(input_shape)


def _sum(product: Tensor, other: Tensor) -> Tensor:
    """Returns the sum; on TensorFlow as a difference: a product and an addition XLA computes as one, on one core."""
    return product - (-other) if keras.backend.backend() == "tensorflow" else product + other


def _product(rows: Tensor, factor: _Factor, dtype: str) -> Tensor:
    """Returns `rows` (B, F) times a matrix, as `dtype`."""
    products = [_product_of_one(rows, matrix, factor.transposed) for matrix in factor.matrices]
    return ops.cast(products[0] if len(products) == 1 else ops.concatenate(products, axis=-1), dtype)


def _product_of_one(rows: Tensor, matrix: keras.Variable, transposed: bool) -> Tensor:
    backend = keras.backend.backend()
    if transposed:
        return ops.transpose(ops.matmul(matrix.value, ops.transpose(ops.cast(rows, matrix.dtype))))
    if backend == "torch" and matrix.value.device.type == "cpu":
        return ops.matmul(ops.cast(rows, "float32"), ops.cast(matrix, "float32"))
    rows = ops.cast(rows, matrix.dtype)
    if backend == "tensorflow":
        import tensorflow as tf

        if hasattr(tf.raw_ops, "BatchMatMulV3"):  # this product of half precision sums in float32
            return tf.raw_ops.BatchMatMulV3(x=rows, y=matrix.value, Tout=tf.float32)
        return tf.matmul(tf.cast(rows, tf.float32), tf.cast(matrix.value, tf.float32))
    if backend == "jax":
        import jax

        return jax.numpy.matmul(rows, matrix.value, preferred_element_type="float32")
    return ops.matmul(rows, matrix)
