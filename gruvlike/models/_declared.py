"""How large the model of a file would be, by its settings alone: before a layer of it is made."""

import math
from collections.abc import Iterator, Mapping

# Settings of layers whose weights are a matrix: so many numbers for each that they read.
_UNITS = ("units", "filters", "output_dim", "input_dim", "num_heads", "key_dim", "kernel_size", "components")
# Settings of encoders, normalizers and the like: they have vectors of these lengths, and matrices of some pairs.
_LENGTHS = ("features", "width", "block_size", "frame_size", "mels")
_PAIRS = (("features", "width"), ("frame_size", "mels"))
_SHAPES = ("batch_shape", "batch_input_shape", "input_shape", "shape")
_GATES = {"LSTM": 4, "GRU": 3}
_GENEROUS = 8  # the estimate may be so much above the numbers in the file, and
_ROOM = 10**6  # so many numbers more
_MOST = 10**30  # a greater number is no size, and no float


def check_declared(config: Mapping[str, object], stored: int) -> None:
    """Raises unless the settings of a model agree with the numbers in its file.

    Args:
        config: The contents of `config.json`.
        stored: How many numbers the weights in the file hold.

    Raises:
        ValueError: If a model of these settings would be out of proportion to the file.
    """
    widest = sum(_sizes_in(config))  # as if everything were put together
    declared = sum(_numbers_of(config, widest))
    if declared > _GENEROUS * stored + _ROOM:
        raise ValueError(f"its settings ask for about {declared:.3g} weights, and it holds {stored}")


def _numbers_of(value: object, reads: float) -> Iterator[float]:
    """Yields about how many weights each layer has that reads frames of `reads` numbers, unless it says otherwise."""
    if isinstance(value, dict):
        reads = max(_last_sizes(value.get("build_config")), default=reads)
        settings = value.get("config")
        if isinstance(settings, dict):
            own = [float(size) for name in _UNITS for size in _integers(settings.get(name))]
            if own:
                yield _weights(str(value.get("class_name")), math.prod(own), reads)
            yield from (float(size) for name in _LENGTHS for size in _integers(settings.get(name)))
            for pair in _PAIRS:
                sizes = [float(size) for name in pair for size in _integers(settings.get(name))]
                yield math.prod(sizes) if len(sizes) == len(pair) else 0.0
        for inner in value.values():
            yield from _numbers_of(inner, reads)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers_of(inner, reads)


def _weights(name: str, own: float, reads: float) -> float:
    gates = next((count for kind, count in _GATES.items() if kind in name), 0)
    if gates or "RNN" in name:
        return max(gates, 1) * own * (reads + own + 1)
    return own * (reads + 1)


def _sizes_in(value: object) -> Iterator[int]:
    """Yields all sizes and all sides of shapes in a configuration."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in (*_UNITS, *_LENGTHS, *_SHAPES):
                yield from _integers(inner)
            else:
                yield from _sizes_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sizes_in(inner)


def _last_sizes(value: object) -> Iterator[int]:
    """Yields the last side of each shape in the settings that a layer is built by."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _last_sizes(inner)
    elif isinstance(value, list):
        if value and all(one is None or isinstance(one, int) for one in value):
            yield from _integers(value[-1])
        else:
            for inner in value:
                yield from _last_sizes(inner)


def _integers(value: object) -> Iterator[int]:
    """Yields a positive integer, or those in a list."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and not isinstance(one, bool) and one > 0:
            yield min(one, _MOST)
