"""Averaged weights in a run: a checkpoint holds the weights that training goes on with, whoever has swapped them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras.callbacks import Callback, SwapEMAWeights

from gruvlike.callbacks import _state


def has_averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer, or one inside it, keeps averages of the weights (`use_ema=True`)."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return any(getattr(one, "use_ema", False) for one in getattr(inner, "optimizers", [inner]))


class BeforeSwap(Callback):
    """Remembers the variables at the end of an epoch, before `SwapEMAWeights` puts the averages in their places.

    In the last epoch of a call of `fit` that callback gives up the weights themselves: without them a longer run could
    only go on from the averages. It must be called before that callback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: list[tuple[keras.Variable, np.ndarray]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Forgets the epoch before: the weights are in their places again."""
        self._values = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remembers the variables."""
        variables = _state.variables(self.model)
        self._values = list(zip(variables, _state.arrays_of(variables), strict=True))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Puts the weights in their places during the block, if they were swapped."""
        now = _state.arrays_of(variable for variable, _ in self._values)
        for variable, array in self._values:
            variable.assign(array)
        try:
            yield
        finally:
            for (variable, _), array in zip(self._values, now, strict=True):
                variable.assign(array)


def before_swap(callbacks: Iterable[Callback]) -> list[BeforeSwap]:
    """Returns the callback that goes before all others, if one of them swaps weights at the end of an epoch."""
    return [BeforeSwap()] if any(isinstance(one, SwapEMAWeights) and one.swap_on_epoch for one in callbacks) else []
