"""Activations that stock Keras does not have: the gates of 2015."""

import keras

from gruvlike._contracts import Tensor


@keras.saving.register_keras_serializable(package="gruvlike")
def hard_sigmoid_2015(x: Tensor) -> Tensor:
    """The gates' activation in 2015, clip(0.2 x + 0.5, 0, 1); the slope of Keras 3's own `hard_sigmoid` is 1/6.

    Args:
        x: A tensor or array of numbers.

    Returns:
        Numbers in [0, 1], same shape.

    Example:
        >>> import numpy as np
        >>> keras.ops.convert_to_numpy(hard_sigmoid_2015(np.array([-3.0, 0.0, 1.0], "float32")))
        array([0. , 0.5, 0.7], dtype=float32)
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)
