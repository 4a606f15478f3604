"""Everything that training changes, read and written: variables, and the states of callbacks.

`load_weights` of Keras leaves out the states of random generators and of metrics, and callbacks altogether.
"""

import inspect
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np
from keras.callbacks import Callback

from gruvlike._contracts import KeepsState

State = dict[str, Any]
NamedState = tuple[str, State]

# These stock callbacks decide by the epochs they have seen. A stock callback that writes a file resumes it by itself.
_DECIDING = keras.callbacks.EarlyStopping | keras.callbacks.ReduceLROnPlateau | keras.callbacks.ModelCheckpoint


@runtime_checkable
class _Watches(Protocol):
    """A callback that watches one number of the logs."""

    monitor: str


def variables(model: keras.Model) -> list[keras.Variable]:
    """Returns everything that training changes, each once, but the metrics: weights, random states, optimizer."""
    return _without([*model.variables, *model.optimizer.variables], model.metrics_variables)


def unsaved_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables that `model.save` and `load_weights` may leave out: random states, carried states."""
    saved = [*model.trainable_variables, *model.optimizer.variables]
    return _without(variables(model), saved)


def _without(found: list[keras.Variable], others: list[keras.Variable]) -> list[keras.Variable]:
    left = {id(variable): variable for variable in found}
    for variable in others:
        left.pop(id(variable), None)
    return list(left.values())


def arrays_of(found: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Returns the values, copied to the host."""
    return [_array_of(variable) for variable in found]


def _array_of(variable: keras.Variable) -> np.ndarray:
    # The variable itself is converted: its value has a copy on each device of a `MirroredStrategy`.
    array = np.array(keras.ops.convert_to_numpy(variable))
    # A file of numpy does not know bfloat16. Float32 holds each of its numbers.
    return array.astype("float32") if array.dtype.kind == "V" else array


def learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate at this moment."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def assign(found: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    """Gives variables their values.

    Raises:
        ValueError: If number or shapes differ.
    """
    if [tuple(v.shape) for v in found] != [a.shape for a in arrays]:
        raise ValueError(
            f"The variables must be those that were saved. Received: {len(arrays)} arrays for {len(found)} variables, "
            "or other shapes. Was the model changed between two calls of `fit`?"
        )
    for variable, array in zip(found, arrays, strict=True):
        variable.assign(array)


def checksum(found: Iterable[keras.Variable]) -> int:
    """Returns a number that changes with any bit of the values."""
    total = 0
    for array in arrays_of(found):
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def of_callbacks(callbacks: Sequence[Callback], own: Sequence[Callback] = ()) -> list[NamedState]:
    """Returns (name, state) of each callback that has a state: stock ones, and any that is a `KeepsState`.

    Args:
        callbacks: In the order of `fit`.
        own: Those that `run_callbacks` made: the user may have others of the same class that watch the same number.
    """
    found: list[NamedState] = []
    for callback in callbacks:
        if isinstance(callback, KeepsState):
            found.append((_name(callback, own), callback.get_state()))
        elif isinstance(callback, _DECIDING):
            found.append((_name(callback, own), _stock_state(callback)))
    return found


def _stock_state(callback: Callback) -> State:
    """Returns the numbers among the attributes of a callback that are neither its arguments nor set by `fit`."""
    makers = [vars(base)["__init__"] for base in type(callback).__mro__ if "__init__" in vars(base)]
    settings = {name for maker in makers for name in inspect.signature(maker).parameters}
    settings |= {"_model", "model", "_params"}
    return {name: value for name, value in vars(callback).items() if name not in settings and _is_plain(value)}


def to_callbacks(states: Iterable[NamedState], callbacks: Sequence[Callback], own: Sequence[Callback] = ()) -> None:
    """Gives back the states that `of_callbacks` returned.

    A stock callback takes numbers that it has, and nothing else: a file must not decide where a callback writes.
    """
    for callback, state in matched(states, callbacks, own):
        if isinstance(callback, KeepsState):
            callback.set_state(state)
            continue
        now = _stock_state(callback)
        vars(callback).update({name: one for name, one in state.items() if name in now and _is_alike(one, now[name])})


def _is_alike(value: object, now: object) -> bool:
    """Whether a callback may take a value in the place of another: `None` stands for a number not yet known."""
    if isinstance(value, bool) or isinstance(now, bool):
        return isinstance(value, bool) and isinstance(now, bool)
    return _is_plain(value) and (value is None or now is None or isinstance(value, list) == isinstance(now, list))


def matched(
    states: Iterable[NamedState], callbacks: Sequence[Callback], own: Sequence[Callback] = ()
) -> Iterator[tuple[Callback, State]]:
    """Yields each callback with its state; the first callback of a name gets the first state of that name."""
    left = list(states)
    for callback in callbacks:
        if isinstance(callback, KeepsState | _DECIDING):
            found = next((one for one in left if one[0] == _name(callback, own)), None)
            if found is not None:
                left.remove(found)
                yield callback, found[1]


def _name(callback: Callback, own: Sequence[Callback]) -> str:
    """The name of a state: the class, the number that it watches, and whether the run made the callback."""
    watches = f" of {callback.monitor}" if isinstance(callback, _Watches) else ""
    is_own = any(callback is one for one in own)
    return f"{type(callback).__name__}{watches}{' (run)' if is_own else ''}"


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | np.ndarray | np.generic)


def pack(value: object, arrays: list[np.ndarray]) -> Any:
    """Returns `value` for JSON: arrays go into `arrays`, and their numbers there take their places."""
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"dict": {name: pack(one, arrays) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return [pack(one, arrays) for one in value]
    return value


def unpack(value: object, arrays: list[np.ndarray]) -> Any:
    """Undoes `pack`; tuples come back as lists, numbers of numpy as arrays without dimensions.

    Raises:
        ValueError: If `pack` cannot have made it.
    """
    if isinstance(value, list):
        return [unpack(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), *others = value.items() or [("", None)]
    if not others and kind == "array" and isinstance(inner, int) and 0 <= inner < len(arrays):
        array = arrays[inner]
        return array[()] if array.ndim == 0 else array
    if others or kind != "dict" or not isinstance(inner, dict):
        raise ValueError(f"A state holds arrays and dictionaries. Received: {str(value)[:60]}.")
    return {name: unpack(one, arrays) for name, one in inner.items()}
