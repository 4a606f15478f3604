"""The recurrent stack: stock recurrent layers of Keras, and all that they read besides the last frame."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np

from gruvlike import _checks
from gruvlike.conditions import Anchor, Condition, OwnPast, Style
from gruvlike.heads import Head, Point
from gruvlike.models._estimates import check_weights, stack_parameters
from gruvlike.models._residual import FrameNoise, GateBias, Residual

_GATE_SCALE = 0.3


def recurrent_stack(
    features: int,
    cell: Literal["lstm", "gru"] = "lstm",
    units: int | tuple[int, ...] = (1024,),
    projection: int | None = None,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    input_noise: float = 0.0,
    told_noise: float | None = None,
    recurrent_dropout: float = 0.0,
    layer_norm: bool = False,
    skip: bool = False,
    forget_bias: float = 1.0,
    random_seed: int | None = None,
    head: Head | None = None,
    clock: Condition | None = None,
    lags: Condition | None = None,
    anchor: Condition | None = None,
    conditions: Sequence[Condition] = (),
    style: Style | None = None,
    residual: bool | None = None,
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
        input_noise: Deviation of Gaussian noise added to the frame while training, over the deviation of the music.
            Lagged frames get the same, an anchor a third of it.
        told_noise: Lets the network read the level of that noise: in training it is drawn between 0 and `input_noise`
            for each window, in a song it is this number. `None`: it is always `input_noise`, and not read.
        recurrent_dropout: Share of the state dropped from step to step while training. Switches cuDNN off.
        layer_norm: Whether a layer normalization follows each recurrent layer.
        skip: Whether the output layer sees all recurrent layers, not only the last.
        forget_bias: The first value of the bias of the LSTM's forget gate (a GRU has none).
        random_seed: Makes weights, dropout and noise reproducible. `None` follows `keras.utils.set_random_seed`.
        head: The head that reads the outputs, and so decides how many there are; `None`: the next frame itself.
        clock: A `Clock`: the place of the frame to come in beat and bar.
        lags: `Lags`: frames of the sound's own past.
        anchor: An `Anchor`: frames of the end of the seed.
        conditions: More conditions; each has an input of its own.
        style: A `Style`: the kind of music, which every recurrent layer reads.
        residual: Whether the expected frame is moved by the last frame and by those of `lags` and `anchor`, each number
            by a learned gate of its own, so that the stack predicts the rest. `None`: where the head is a mixture,
            or there are such frames.

    Returns:
        A `keras.Model` from frames (B, T, F) to predictions of the next frame, same shape; with a `head`, to the
        outputs that it wants, (B, T, head.outputs(F)). Each condition is one more input.

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
    features = _checks.positive_int("features", features)
    projection = None if projection is None else _checks.positive_int("projection", projection)
    units = _check_stack(cell, units, forget_bias)
    _check_rates(input_dropout=input_dropout, dropout=dropout, recurrent_dropout=recurrent_dropout)
    _check_noise(input_noise, told_noise)
    head = Point() if head is None else head
    conditions = [one for one in (clock, lags, anchor, *conditions, style) if one is not None]
    next_seed = _seeds(random_seed)
    frames = keras.Input((None, features), name="frames")
    inputs = [condition.input(features) for condition in conditions]
    past = [one for one in conditions if isinstance(one, OwnPast)]
    sources = _sources(frames, dict(zip(conditions, inputs, strict=True)), past)
    if input_noise:
        # An anchor gets less noise: also in a song it is music, never a frame of the network's own.
        shares = [1.0, *(1 / 3 if isinstance(one, Anchor) else 1.0 for one in past for _ in range(one.count))]
        noise = FrameNoise(features, input_noise, shares, told_noise, seed=next_seed(), name="input_noise")
        sources = noise(sources)
    x = sources
    if input_dropout:
        x = keras.layers.Dropout(input_dropout, seed=next_seed(), name="input_dropout")(x)
    own = [*past, style]
    others = [one(source) for one, source in zip(conditions, inputs, strict=True) if one not in own]
    if others:
        x = keras.layers.Concatenate(name="read")([x, *others])
    residual = bool(head.residual or past) if residual is None else residual
    count = 1 + sum(one.count for one in past) if residual else 0
    sizes = head.outputs(features), count * features
    vector = None if style is None else style(inputs[-1])
    check_weights(stack_parameters(x.shape[-1], cell, units, projection, layer_norm, skip, *sizes, _width(vector)))
    if projection:
        x = keras.layers.Dense(projection, kernel_initializer=_glorot(next_seed()), name="projection")(x)
    layers = []
    for index, width in enumerate(units):
        if vector is not None:
            x = keras.layers.Concatenate(name=f"styled_{index}")([x, vector])
        x = _recurrent(cell, width, recurrent_dropout, forget_bias, next_seed, f"{cell}_{index}")(x)
        if layer_norm:
            x = keras.layers.LayerNormalization(name=f"norm_{index}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next_seed(), name=f"dropout_{index}")(x)
        layers.append(x)
    if skip and len(layers) > 1:
        x = keras.layers.Concatenate(name="skip")(layers)
    x = _outputs(x, head, features, sources, count, next_seed)
    stack = keras.Model([frames, *inputs] if inputs else frames, x, name="recurrent_stack")
    _set_forget_bias(stack, forget_bias)
    return stack


def _sources(
    frames: keras.KerasTensor, inputs: dict[Condition, keras.KerasTensor], past: list[OwnPast]
) -> keras.KerasTensor:
    """Returns the last frame and those of the sound's own past, put together."""
    if not past:
        return frames
    return keras.layers.Concatenate(name="sources")([frames, *(one(inputs[one]) for one in past)])


def _width(tensor: keras.KerasTensor | None) -> int:
    return 0 if tensor is None else tensor.shape[-1]


def _outputs(
    x: keras.KerasTensor,
    head: Head,
    features: int,
    sources: keras.KerasTensor,
    count: int,
    next_seed: Callable[[], int | None],
) -> keras.KerasTensor:
    """Returns the outputs that the head wants, moved by the first `count` of the sources if there are any."""
    # Outputs are compared and become sound: they are not of half precision under any policy.
    dtype = None if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    scale = 0.5 if count else 1.0  # the outputs start near the sources themselves
    dense = keras.layers.Dense(
        head.outputs(features), kernel_initializer=_glorot(next_seed(), scale), dtype=dtype, name="frame"
    )
    if not count:
        return dense(x)
    gates = keras.layers.Dense(
        count * features,
        kernel_initializer=_glorot(next_seed(), _GATE_SCALE),
        bias_initializer=GateBias(features),
        dtype=dtype,
        name="gates",
    )
    return Residual(head, features, name="residual")(dense(x), gates(x), sources)


def _check_stack(cell: str, units: Any, forget_bias: float) -> tuple[int, ...]:
    _checks.choice("cell", cell, ("lstm", "gru"))
    several = isinstance(units, Sequence) or (isinstance(units, np.ndarray) and units.ndim == 1)
    widths = tuple(_checks.positive_int("units", width) for width in (units if several else (units,)))
    if not widths:
        raise ValueError("`units` must name the width of at least one recurrent layer. Received: units=().")
    if _checks.number("forget_bias", forget_bias) != 1.0 and cell == "gru":
        raise ValueError(
            f"`forget_bias` belongs to the LSTM; a GRU has none. Received: forget_bias={forget_bias}, cell='gru'."
        )
    return widths


def _check_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if _checks.number(name, rate, 0, 1) == 1:
            raise ValueError(
                f"`{name}` must be less than 1, or nothing is left to learn from. Received: {name}={rate!r}."
            )


def _check_noise(input_noise: float, told_noise: float | None) -> None:
    _checks.number("input_noise", input_noise, 0)
    if told_noise is not None and not input_noise:
        raise ValueError(
            f"`told_noise` is the level of the input noise. Received: told_noise={told_noise!r}, "
            f"input_noise={input_noise!r}. Give `input_noise`, the greatest level, too."
        )


def _seeds(random_seed: int | None) -> Callable[[], int | None]:
    """Returns a function that gives each layer its own integer, or `None` to follow Keras's global one."""
    if random_seed is None:
        return lambda: None
    stream = random.Random(_checks.positive_int("random_seed", random_seed, minimum=0))
    return lambda: stream.randrange(2**31)


def _glorot(seed: int | None, factor: float = 1.0) -> keras.initializers.Initializer:
    """Returns the initializer of Glorot with weights `factor` times as large."""
    if factor == 1.0:
        return keras.initializers.GlorotUniform(seed=seed)
    return keras.initializers.VarianceScaling(factor**2, "fan_avg", "uniform", seed=seed)


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
    if forget_bias == 1.0:  # Keras has set this one
        return
    for layer in stack.layers:
        if isinstance(layer, keras.layers.LSTM):
            bias = np.array(layer.cell.bias)
            bias[layer.units : 2 * layer.units] = forget_bias
            layer.cell.bias.assign(bias)
