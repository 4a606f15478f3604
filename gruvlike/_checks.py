"""Validators of arguments, called before any work is done: each error says the rule, the value received, the remedy."""

import difflib
import errno
import math
import numbers
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

Part = TypeVar("Part")
Number = TypeVar("Number", int, float)

MOST_HZ = 1_000_000  # a sample rate beyond is a mistake, and would fill the memory


def positive_int(name: str, value: object, minimum: int = 1) -> int:
    """Returns `value` as an int, or raises if it is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        rule = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}.")
    return int(value)


def at_most(name: str, value: object, most: int) -> int:
    """Returns `value` as an int, or raises if it is not a positive integer up to `most`."""
    value = positive_int(name, value)
    if value > most:
        raise ValueError(f"`{name}` must be at most {most}. Received: {name}={value}.")
    return value


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf, open_low: bool = False) -> float:
    """Returns `value` as a float, or raises if it is not finite and in [low, high] (`open_low`: low excluded)."""
    found = as_float(value)
    if not math.isfinite(found) or not low <= found <= high or (open_low and found == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"`{name}` must be a finite number in {bracket}{low}, {high}]. Received: {name}={value!r}.")
    return found


def as_float(value: object) -> float:
    """Returns a number as a float, and NaN for all else: for an integer beyond all floats, too."""
    try:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def shares(name: str, weights: object, count: int) -> list[float]:
    """Returns `count` weights over their sum, equal ones for `None`, or raises if they are negative or sum to 0."""
    if weights is None:
        return [1 / count] * count
    found = several(name, weights, lambda one: number(name, one, 0))
    if len(found) != count or not any(found):
        raise ValueError(
            f"`{name}` must be {count} numbers, at least 0, that do not all equal 0. Received: {name}={weights!r}."
        )
    # The sum of huge numbers would be infinite. A power of two changes no digit of the others.
    exponent = math.frexp(max(found))[1]
    scaled = [math.ldexp(one, -exponent) for one in found]
    return [one / sum(scaled) for one in scaled]


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """Returns `value`, or raises if it is not one of `options`."""
    if value not in options:
        known = ", ".join(map(repr, options))
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}.{_nearest(value, options)}")
    return value


def mono(name: str, samples: object) -> np.ndarray:
    """Returns `samples` as float32 of shape (S,), or raises if they are not one-dimensional, finite and not empty."""
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError):  # parts of unlike shapes, or tensors, such as those of a memory
        array = np.array(None)
    if array.dtype == object:
        raise ValueError(f"`{name}` must be an array of mono samples. Received: {type(samples).__name__}.")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{name}` must be mono samples of shape (S,), S > 0. Received: shape={array.shape}. "
            "Mix the channels down first (`gruvlike.audio.read` does)."
        )
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32768)
    if array.dtype.kind != "f":
        raise ValueError(f"`{name}` must be float samples in [-1, 1] or int16 PCM. Received: dtype={array.dtype}.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite. Received: {int((~np.isfinite(array)).sum())} NaN or infinite samples."
        )
    return array.astype(np.float32, copy=False)


def horizons(values: Any) -> tuple[int, ...]:
    """Returns checked horizons, at least one."""
    found = several("horizons", values, lambda one: positive_int("horizons", one))
    if not found:
        raise ValueError(f"`horizons` must hold at least one number of frames. Received: horizons={values!r}.")
    return found


def several(name: str, values: Any, check: Callable[[Any], Number]) -> tuple[Number, ...]:
    """Returns checked values as a tuple; a single one, or text, is refused with the way to write it."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be several values, in a tuple or list. Received: {name}={values!r}. For one of "
            f"them write {name}=({values!r},)."
        )
    return tuple(check(value) for value in values)


def words_of(error: BaseException) -> str:
    """Returns the kind and the text of an error of another library, without the codes that color it in a terminal."""
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).strip()
    return f"{type(error).__name__}: {text}"


def room(path: str | os.PathLike, size: float, what: str) -> None:
    """Raises if the disk under the folder `path` has no room for `size` bytes, before they are computed."""
    free = shutil.disk_usage(path).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"There must be room for {what}, about {size / 1e6:,.0f} MB. Received: {free / 1e6:,.0f} MB free under "
            f"{str(path)!r}. Make room, or give another folder.",
        )


def by_name(
    family: str,
    value: str | Part,
    base: type[Part],
    names: Mapping[str, Callable[..., Part]],
    options: Mapping[str, Any],
) -> Part:
    """Returns the part that the class or function under `value` in `names` makes; an existing part stays as it is."""
    if isinstance(value, base):
        if options:
            raise ValueError(f"A part that is already made takes no options. Received: {family}={value!r}, {options}.")
        return value
    if not isinstance(value, str) or value not in names:
        kind = f"{'an' if base.__name__[0] in 'AEIOU' else 'a'} {base.__name__}"
        raise ValueError(
            f"`{family}` must be {kind} or one of {', '.join(names)}. "
            f"Received: {family}={value!r}.{_nearest(value, names)}"
        )
    return names[value](**options)


def _nearest(value: Any, names: Iterable[str]) -> str:
    """Returns a question for the end of a message, or "" if no name is close."""
    near = difflib.get_close_matches(str(value), names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
