"""The loss that compares between models: over that of predicting the mean."""

from typing import Any

import keras
from keras import ops

from gruvlike._contracts import Tensor


@keras.saving.register_keras_serializable(package="gruvlike")
class RelativeLoss(keras.metrics.Metric):
    """The squared error over that of predicting the mean, on the same windows: 1.0 = nothing learned, 0 = perfect.

    Example:
        >>> metric = RelativeLoss()
        >>> metric.update_state(loss=1.0, mean_loss=4.0)
        >>> float(metric.result())
        0.25
    """

    def __init__(self, name: str = "relative_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.mean_total = self.add_variable((), "zeros", name="mean_total")

    def update_state(self, loss: Tensor | float, mean_loss: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Adds a batch's `loss`, and its `mean_loss` (of predicting the mean): means over `weight` windows."""
        weight = ops.cast(weight, self.total.dtype)
        self.total.assign_add(ops.cast(loss, self.total.dtype) * weight)
        self.mean_total.assign_add(ops.cast(mean_loss, self.total.dtype) * weight)

    def result(self) -> Tensor:
        """Returns the ratio over all batches since the last reset."""
        return ops.divide_no_nan(self.total, self.mean_total)
