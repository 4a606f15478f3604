"""Private names of Keras, TensorFlow and torch: looked for first, so that without one training is only slower."""

import functools
import logging

logger = logging.getLogger(__name__)


def has_names(owner: object, *names: str, otherwise: str) -> bool:
    """Returns whether `owner` has all these names, and warns, once in a process, of each that it lacks.

    Args:
        owner: A module, a class or an object of a library.
        *names: Attributes of it.
        otherwise: The end of the warning: the part of training that stays slow, and a verb.

    Example:
        >>> import math
        >>> has_names(math, "sin", "cos", otherwise="waves are drawn by hand")
        True
    """
    missing = [name for name in names if not hasattr(owner, name)]
    for name in missing:
        _warn(f"{getattr(owner, '__name__', type(owner).__name__)}.{name}", otherwise)
    return not missing


@functools.cache
def _warn(name: str, otherwise: str) -> None:
    logger.warning("This version of Keras or of its backend has no `%s`: %s at the speed of Keras.", name, otherwise)
