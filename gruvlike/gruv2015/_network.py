"""The network of 2015, and the weights files of its Keras (0.2)."""

import os
import random
from pathlib import Path

import h5py
import keras
import numpy as np

from gruvlike._checks import choice, positive_int
from gruvlike._files import replacing
from gruvlike.models._activations import hard_sigmoid_2015

# The orthogonal kernels of that Keras have this singular value, as saved weights of 2015 show.
_RECURRENT_GAIN = 1.1
_ARRAYS = {12: "lstm", 9: "gru"}  # the number of arrays of a recurrent layer in a weights file tells its cell
# Each gate in the order of Keras 3 (LSTM: input, forget, candidate, output) has this place in the order of the file
# (input, candidate, forget, output). Only two places are swapped, so the same table serves reading and writing.
_GATES = {"lstm": (0, 2, 1, 3), "gru": (0, 1, 2)}


def network(
    features: int, hidden: int = 1024, cell: str = "lstm", layers: int = 1, *, random_seed: int | None = None
) -> keras.Model:
    """Builds and compiles the network of 2015: Dense, recurrent layers, Dense; loss MSE; optimizer RMSprop.

    It was trained in batches of 5. The LSTM's candidate and output activations are tanh. The GRU's reset gate acts
    before the recurrent product, and its candidate activation is *logistic* (the default of that Keras), so its state
    is never negative. The gate activation is `hard_sigmoid_2015`. Kernels are initialized Glorot uniform and recurrent
    kernels orthogonal (times 1.1), for each gate separately; forget biases start at 1.

    Args:
        features: F, numbers in a frame.
        hidden: H, units of every layer.
        cell: "lstm" or "gru".
        layers: Number of recurrent layers.
        random_seed: Integer that decides the initial weights. `None` follows `keras.utils.set_random_seed`.

    Returns:
        A compiled model (B, T, F) -> (B, T, F), for any B and T.

    Raises:
        ValueError: If a size is no positive integer, or the cell is unknown.

    Example:
        >>> model = network(features=32, hidden=16, cell="gru", layers=2, random_seed=0)
        >>> model.output_shape, model.count_params()
        ((None, None, 32), 4240)

    References:
        Nayebi and Vitelli, "GRUV: Algorithmic Music Generation using Recurrent Neural Networks", 2015.
    """
    features, hidden = positive_int("features", features), positive_int("hidden", hidden)
    layers = positive_int("layers", layers)
    choice("cell", cell, ("lstm", "gru"))
    start = random.randrange(2**31) if random_seed is None else positive_int("random_seed", random_seed, minimum=0)
    rng = np.random.default_rng(start)
    recurrent = [_draw_recurrent(hidden, cell, rng) for _ in range(layers)]
    return _build([_draw_dense(features, hidden, rng), *recurrent, _draw_dense(hidden, features, rng)])


def _draw_dense(rows: int, columns: int, rng: np.random.Generator) -> list[np.ndarray]:
    limit = np.sqrt(6 / (rows + columns))
    return [rng.uniform(-limit, limit, (rows, columns)), np.zeros(columns)]


def _draw_recurrent(hidden: int, cell: str, rng: np.random.Generator) -> list[np.ndarray]:
    arrays = []
    for gate in range(len(_GATES[cell])):
        kernel, bias = _draw_dense(hidden, hidden, rng)
        q, r = np.linalg.qr(rng.standard_normal((hidden, hidden)))
        is_forget = cell == "lstm" and gate == 2
        arrays += [kernel, _RECURRENT_GAIN * q * np.sign(np.diag(r)), bias + is_forget]
    return arrays


def _build(arrays: list[list[np.ndarray]]) -> keras.Model:
    """Returns the compiled network with the given weights: a list of arrays a layer, in the order of the file."""
    (features, hidden), cell = arrays[0][0].shape, _ARRAYS[len(arrays[1])]
    options = {"return_sequences": True, "recurrent_activation": hard_sigmoid_2015}
    if cell == "gru":
        options |= {"activation": "sigmoid", "reset_after": False}
    recurrent = keras.layers.LSTM if cell == "lstm" else keras.layers.GRU
    model = keras.Sequential(
        [
            keras.Input((None, features)),
            keras.layers.Dense(hidden),
            *(recurrent(hidden, **options) for _ in arrays[1:-1]),
            keras.layers.Dense(features),
        ],
        name="gruv2015",
    )
    for layer, values in zip(model.layers, arrays, strict=True):
        layer.set_weights(values if len(values) == 2 else _fuse(values, cell))
    # RMSprop of Keras 3 adds epsilon before the square root, like that of 2015.
    model.compile(keras.optimizers.RMSprop(1e-3, rho=0.9, epsilon=1e-6), loss="mse")
    model.optimizer.build(model.trainable_variables)  # without it Keras saves a file that it cannot load
    return model


def _fuse(arrays: list[np.ndarray], cell: str) -> list[np.ndarray]:
    """Joins the kernels, recurrent kernels and biases of the gates into the three arrays of a layer of Keras 3."""
    gates = [arrays[3 * place : 3 * place + 3] for place in _GATES[cell]]
    return [np.concatenate(kind, axis=-1) for kind in zip(*gates, strict=True)]


def _split(weights: list[np.ndarray], cell: str) -> list[np.ndarray]:
    """Splits the three arrays of a layer into those of each gate, in the order of the file: the inverse of `_fuse`."""
    gates = list(zip(*(np.split(kind, len(_GATES[cell]), axis=-1) for kind in weights), strict=True))
    return [array for place in _GATES[cell] for array in gates[place]]


def load_network(weights_path: str | os.PathLike) -> keras.Model:
    """Builds the network of a weights file of 2015; sizes, number of layers and cell follow from the arrays.

    Args:
        weights_path: An HDF5 file that Keras 0.2 saved.

    Returns:
        The compiled network with these weights. The optimizer starts without a state, because none was stored.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not HDF5, or does not hold the weights of a network of 2015.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(network(features=32, hidden=16, cell="gru", layers=2), Path(folder) / "weights")
        ...     model = load_network(Path(folder) / "weights")
        >>> [type(layer).__name__ for layer in model.layers], model.input_shape
        (['Dense', 'GRU', 'GRU', 'Dense'], (None, None, 32))
    """
    path = Path(weights_path)
    if not path.is_file():
        raise FileNotFoundError(f"A weights file must exist: nothing starts from random weights. Received: {path}.")
    try:
        with h5py.File(path, "r") as file:
            arrays = _read_layers(file)
    except OSError as error:  # h5py says that the file is no HDF5, cut short or damaged
        raise ValueError(f"A weights file must be complete HDF5. Received: {path} ({error}).") from error
    except (KeyError, TypeError, ValueError) as error:  # an entry is missing or is no number
        raise ValueError(
            "A weights file of 2015 has the attribute nb_layers and groups layer_0, layer_1, ... with nb_params and "
            f"param_0, param_1, ... Received: {path}: {error}. Models saved since then open with `gruvlike.load`."
        ) from error
    _check_arrays(arrays, path)
    return _build(arrays)


def _read_layers(file: h5py.File) -> list[list[np.ndarray]]:
    groups = [file[f"layer_{k}"] for k in range(int(file.attrs["nb_layers"]))]
    return [[np.asarray(group[f"param_{i}"]) for i in range(int(group.attrs["nb_params"]))] for group in groups]


def _check_arrays(arrays: list[list[np.ndarray]], path: Path) -> None:
    counts = [len(layer) for layer in arrays]
    if len(arrays) < 3 or counts[0] != 2 or counts[-1] != 2 or set(counts[1:-1]) not in ({12}, {9}):
        raise ValueError(
            "A weights file of 2015 holds 2 arrays (Dense), then 12 for each LSTM or 9 for each GRU, then 2 (Dense). "
            f"Received: {path} with {counts}."
        )
    first = arrays[0][0].shape
    features, hidden = first if len(first) == 2 and min(first) > 0 else (None, None)
    rules = [[(features, hidden), (hidden,)]]
    rules += [[(hidden, hidden), (hidden, hidden), (hidden,)] * (count // 3) for count in counts[1:-1]]
    rules += [[(hidden, features), (features,)]]
    for k, (layer, shapes) in enumerate(zip(arrays, rules, strict=True)):
        for i, (array, shape) in enumerate(zip(layer, shapes, strict=True)):
            if array.shape != shape or array.dtype.kind != "f":
                raise ValueError(
                    f"layer_{k}/param_{i} must be floats of shape {shape}, to fit layer_0/param_0 of shape {first}. "
                    f"Received: {array.dtype}, shape={array.shape} in {path}."
                )


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes a weights file that the program of 2015 reads.

    Args:
        model: A network made by `network` or `load_network`.
        path: The file to write. An earlier file is replaced when the new one is complete.

    Raises:
        ValueError: If the model has layers or activations that a 2015 file cannot describe.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(network(features=32, hidden=16), Path(folder) / "weights")
        ...     with h5py.File(Path(folder) / "weights") as file:
        ...         [len(file[name]) for name in file]
        [2, 12, 2]
    """
    _check_network(model)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["nb_layers"] = len(model.layers)
        for k, layer in enumerate(model.layers):
            weights = layer.get_weights()
            if len(weights) == 3:
                weights = _split(weights, type(layer).__name__.lower())
            group = file.create_group(f"layer_{k}")
            group.attrs["nb_params"] = len(weights)
            for i, array in enumerate(weights):
                group[f"param_{i}"] = array.astype(np.float32, copy=False)


def _check_network(model: keras.Model) -> None:
    first, *middle, last = model.layers if len(model.layers) > 2 else [None, None, None]
    dense = all(isinstance(d, keras.layers.Dense) and d.activation is keras.activations.linear for d in (first, last))
    if not dense or not (all(map(_is_lstm_2015, middle)) or all(map(_is_gru_2015, middle))):
        raise ValueError(
            "Only a network of 2015 fits in a weights file of 2015: Dense, LSTMs or GRUs with the gates of "
            f"`gruv2015.network`, Dense. Received: {[type(layer).__name__ for layer in model.layers]}. "
            "Save other models with `model.save`."
        )


def _is_lstm_2015(layer: keras.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.LSTM)
        and layer.recurrent_activation is hard_sigmoid_2015
        and layer.activation is keras.activations.tanh
    )


def _is_gru_2015(layer: keras.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.GRU)
        and layer.recurrent_activation is hard_sigmoid_2015
        and layer.activation is keras.activations.sigmoid
        and not layer.reset_after
    )
