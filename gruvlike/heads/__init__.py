"""The meaning of the last layer's numbers: the next frame itself, or a distribution that it is drawn from.

Shapes: frames (B, T, W), W numbers that the network reads; outputs of the stack (B, T, O), with O = `outputs(W)`. A
head works on (..., W) and (..., O), so that one frame (B, W) will do.
"""

from typing import Any

from gruvlike._checks import by_name
from gruvlike.heads._head import Head, Point
from gruvlike.heads._mixture import Mixture

__all__ = ["Head", "Mixture", "Point", "get"]

_NAMES: dict[str, type[Head]] = {"point": Point, "mixture": Mixture}


def get(head: str | Head, **options: Any) -> Head:
    """Returns the head of a name, for configuration files; a head is returned as it is.

    Args:
        head: "point", "mixture", or a `Head`.
        **options: Arguments of that head's class.

    Raises:
        ValueError: If the name is unknown, or options come with a head that is already made.
        TypeError: If the head does not know an option.

    Example:
        >>> from gruvlike import heads
        >>> heads.get("point").outputs(8)
        8
    """
    return by_name("head", head, Head, _NAMES, options)
