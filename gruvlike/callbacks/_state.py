"""What training changes, taken out and put back: variables, and the state of callbacks.

`load_weights` of Keras leaves out the states of random generators and of metrics, and callbacks altogether.
"""

import inspect
import zlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# Stock callbacks that decide by what they have seen. Those that write files take care of themselves.
_DECIDING = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau, keras.callbacks.ModelCheckpoint)


def variables(model: keras.Model) -> list[Any]:
    """Returns everything that training changes, each once, but the metrics: weights, random states, optimizer."""
    return _without([*model.variables, *model.optimizer.variables], model.metrics_variables)


def unsaved_variables(model: keras.Model) -> list[Any]:
    """Returns those that `model.save` and `load_weights` may leave out: random states, carried states."""
    saved = [*model.trainable_variables, *model.optimizer.variables]
    return _without(variables(model), saved)


def _without(found: list[Any], others: list[Any]) -> list[Any]:
    left = {id(variable): variable for variable in found}
    for variable in others:
        left.pop(id(variable), None)
    return list(left.values())


def arrays_of(found: Iterable[Any]) -> list[np.ndarray]:
    """Returns the values, copied to the host."""
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in found]


def assign(found: list[Any], arrays: list[np.ndarray]) -> None:
    """Sets the values.

    Raises:
        ValueError: If they do not fit.
    """
    if [tuple(v.shape) for v in found] != [a.shape for a in arrays]:
        raise ValueError(
            f"The variables must be those that were saved. Received: {len(arrays)} arrays for {len(found)} variables, "
            "or other shapes. Was the model changed between two calls of `fit`?"
        )
    for variable, array in zip(found, arrays, strict=True):
        variable.assign(array)


def checksum(found: Iterable[Any]) -> int:
    """Returns a number that changes with any bit of the values."""
    total = 0
    for array in arrays_of(found):
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def of_callbacks(callbacks: Iterable[keras.callbacks.Callback]) -> list[tuple[str, dict]]:
    """Returns (name, state) of those that have a state: stock ones, and any that has `get_state`."""
    found = []
    for callback in callbacks:
        if hasattr(callback, "get_state"):
            found.append((_name(callback), callback.get_state()))
        elif isinstance(callback, _DECIDING):
            given = {name for base in type(callback).__mro__ for name in inspect.signature(base.__init__).parameters}
            given |= {"_model", "model", "_params"}
            state = {name: value for name, value in vars(callback).items() if name not in given and _is_plain(value)}
            found.append((_name(callback), state))
    return found


def _name(callback: keras.callbacks.Callback) -> str:
    """What a state belongs to: a class, what it watches, and whether the run has it or the user."""
    watches = f" of {callback.monitor}" if hasattr(callback, "monitor") else ""
    return f"{type(callback).__name__}{watches}{' (run)' if getattr(callback, 'of_run', False) else ''}"


def to_callbacks(callbacks: Iterable[keras.callbacks.Callback], states: Iterable[tuple[str, dict]]) -> None:
    """Gives back what `of_callbacks` took; the first of a name gets the first state of that name."""
    left = list(states)
    for callback in callbacks:
        if not (hasattr(callback, "set_state") or isinstance(callback, _DECIDING)):
            continue
        own = next((one for one in left if one[0] == _name(callback)), None)
        if own is None:
            continue
        left.remove(own)
        if hasattr(callback, "set_state"):
            callback.set_state(own[1])
        else:
            vars(callback).update(own[1])


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.ndarray | np.generic)


def pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Returns `value` for JSON: arrays go into `arrays` and leave their number."""
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"dict": {name: pack(one, arrays) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return [pack(one, arrays) for one in value]
    return value


def unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Undoes `pack`; tuples come back as lists, numbers of numpy as arrays without dimensions."""
    if isinstance(value, list):
        return [unpack(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = arrays[value["array"]]
        return array[()] if array.ndim == 0 else array
    return {name: unpack(one, arrays) for name, one in value["dict"].items()}
