"""The recurrent stack, built from stock Keras layers."""

import random
from collections.abc import Callable, Sequence
from typing import Literal

import keras
import numpy as np

from gruvlike import _checks
from gruvlike.heads import Head
from gruvlike.models._estimates import check_weights, stack_parameters


def recurrent_stack(
    features: int,
    cell: Literal["lstm", "gru"] = "lstm",
    units: int | tuple[int, ...] = (1024,),
    projection: int | None = None,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    input_noise: float = 0.0,
    recurrent_dropout: float = 0.0,
    layer_norm: bool = False,
    skip: bool = False,
    forget_bias: float = 1.0,
    random_seed: int | None = None,
    head: Head | None = None,
) -> keras.Model:
    """Builds a stack of recurrent layers from stock Keras layers, so that cuDNN stays available.

    The paper's network is `recurrent_stack(features, units=(1024,), projection=1024)`; the blog's best is
    `units=(300, 300, 300)`.

    Args:
        features: Numbers in a frame that the network reads, F: `encoder.features`, or `normalizer.width` where a
            normalizer gives frames of another width.
        cell: `"lstm"` or `"gru"`.
        units: Width of each recurrent layer, first to last.
        projection: Width of a linear layer between the frame and the first recurrent layer, or `None` for none.
        input_dropout: Share of the frame's numbers set to zero while training, in [0, 1).
        dropout: The same after each recurrent layer.
        input_noise: Standard deviation of Gaussian noise added to the frame while training.
        recurrent_dropout: Share of the state dropped from step to step while training. Switches cuDNN off.
        layer_norm: Whether a layer normalization follows each recurrent layer.
        skip: Whether the output layer sees all recurrent layers, not only the last.
        forget_bias: The first value of the bias of the LSTM's forget gate (a GRU has none).
        random_seed: Makes weights, dropout and noise reproducible. `None` follows `keras.utils.set_random_seed`.
        head: The head that reads the outputs, and so decides how many there are; `None`: the next frame itself.

    Returns:
        A `keras.Model` from frames (B, T, F) to predictions of the next frame, same shape; with a `head`, to the
        outputs that it wants, (B, T, head.outputs(F)).

    Raises:
        ValueError: If an argument is out of its range, or the weights cannot fit in memory.

    Example:
        >>> stack = recurrent_stack(8, cell="gru", units=(16, 16), random_seed=0)
        >>> stack.output_shape
        (None, None, 8)

    References:
        Nayebi & Vitelli, "GRUV: Algorithmic Music Generation using Recurrent Neural Networks", 2015 (the network).
        Jozefowicz et al., "An Empirical Exploration of Recurrent Network Architectures", 2015 (the forget bias).
    """
    units = _check_stack(features, cell, units, projection, forget_bias)
    rates = {"input_dropout": input_dropout, "dropout": dropout, "recurrent_dropout": recurrent_dropout}
    for name, rate in rates.items():
        if _checks.number(name, rate, 0, 1) == 1:
            raise ValueError(
                f"`{name}` must be less than 1, or nothing is left to learn from. Received: {name}={rate!r}."
            )
    _checks.number("input_noise", input_noise, 0)
    outputs = features if head is None else head.outputs(features)
    check_weights(stack_parameters(features, cell, units, projection, layer_norm, skip, outputs))
    next_seed = _seeds(random_seed)
    inputs = x = keras.Input((None, features), name="frames")
    if input_noise:
        x = keras.layers.GaussianNoise(input_noise, seed=next_seed(), name="input_noise")(x)
    if input_dropout:
        x = keras.layers.Dropout(input_dropout, seed=next_seed(), name="input_dropout")(x)
    if projection:
        x = keras.layers.Dense(projection, kernel_initializer=_glorot(next_seed()), name="projection")(x)
    layers = []
    for index, width in enumerate(units):
        x = _recurrent(cell, width, recurrent_dropout, forget_bias, next_seed, f"{cell}_{index}")(x)
        if layer_norm:
            x = keras.layers.LayerNormalization(name=f"norm_{index}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next_seed(), name=f"dropout_{index}")(x)
        layers.append(x)
    if skip and len(layers) > 1:
        x = keras.layers.Concatenate(name="skip")(layers)
    # Outputs are compared and become sound: they are float32 also under a mixed precision policy.
    x = keras.layers.Dense(outputs, kernel_initializer=_glorot(next_seed()), dtype="float32", name="frame")(x)
    stack = keras.Model(inputs, x, name="recurrent_stack")
    _set_forget_bias(stack, forget_bias)
    return stack


def _check_stack(
    features: int, cell: str, units: int | Sequence[int], projection: int | None, forget_bias: float
) -> tuple[int, ...]:
    _checks.positive_int("features", features)
    _checks.choice("cell", cell, ("lstm", "gru"))
    widths = tuple(units) if isinstance(units, Sequence) else (units,)
    if not widths:
        raise ValueError("`units` must name the width of at least one recurrent layer. Received: units=().")
    for width in widths:
        _checks.positive_int("units", width)
    if projection is not None:
        _checks.positive_int("projection", projection)
    if _checks.number("forget_bias", forget_bias) != 1.0 and cell == "gru":
        raise ValueError(
            f"`forget_bias` belongs to the LSTM; a GRU has none. Received: forget_bias={forget_bias}, cell='gru'."
        )
    return widths


def _seeds(random_seed: int | None) -> Callable[[], int | None]:
    """Returns a function that gives each layer its own integer, or `None` to follow Keras's global one."""
    if random_seed is None:
        return lambda: None
    _checks.positive_int("random_seed", random_seed, minimum=0)
    stream = random.Random(random_seed)
    return lambda: stream.randrange(2**31)


def _glorot(seed: int | None) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def _recurrent(
    cell: str, units: int, dropout: float, forget_bias: float, next_seed: Callable[[], int | None], name: str
) -> keras.Layer:
    options = {
        "return_sequences": True,
        "recurrent_dropout": dropout,
        "kernel_initializer": _glorot(next_seed()),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=next_seed()),
        "seed": next_seed(),
        "name": name,
    }
    if cell == "gru":
        return keras.layers.GRU(units, **options)
    return keras.layers.LSTM(units, unit_forget_bias=forget_bias == 1.0, **options)


def _set_forget_bias(stack: keras.Model, forget_bias: float) -> None:
    if forget_bias == 1.0:  # as in Keras
        return
    for layer in stack.layers:
        if isinstance(layer, keras.layers.LSTM):
            bias = np.array(layer.cell.bias)
            bias[layer.units : 2 * layer.units] = forget_bias
            layer.cell.bias.assign(bias)
