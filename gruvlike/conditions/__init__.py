"""Things besides the last frame that a stack reads: its place in the bar, frames of its own past, and a style.

Each condition is a layer with an input of the stack of its own. `recurrent_stack` makes the inputs; a
stack of the user's own does so by `condition(condition.input(width))`. `AudioModel` finds the conditions among the
layers of its stack: in training it gives each window the numbers that belong to it, in a song `Generator` does.
"""

from typing import Any

from gruvlike._checks import by_name
from gruvlike.conditions._clock import Clock
from gruvlike.conditions._condition import Condition, OwnPast, Schedule, conditions_of
from gruvlike.conditions._lags import Anchor, Lags
from gruvlike.conditions._meter import Meter
from gruvlike.conditions._style import Style
from gruvlike.conditions._supply import Supply

__all__ = [
    "Anchor",
    "Clock",
    "Condition",
    "Lags",
    "Meter",
    "OwnPast",
    "Schedule",
    "Style",
    "Supply",
    "conditions_of",
    "get",
]

_NAMES: dict[str, type[Condition]] = {"clock": Clock, "lags": Lags, "anchor": Anchor, "style": Style}


def get(condition: str | Condition, **options: Any) -> Condition:
    """Returns the condition of a name, for configuration files; a condition is returned as it is.

    Args:
        condition: "clock", "lags", "anchor", "style", or a `Condition`.
        **options: Arguments of that condition's class.

    Raises:
        ValueError: If the name is unknown, or options come with a condition that is already made.
        TypeError: If the condition does not know an option.

    Example:
        >>> from gruvlike import conditions
        >>> conditions.get("lags", beats=(1, 4)).beats
        (1.0, 4.0)
    """
    return by_name("condition", condition, Condition, _NAMES, options)
