"""A mixture of Gaussians over whole frames: the next frame is one of several, each with its own spread."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._contracts import Tensor
from gruvlike.heads._head import Head

_CENTER, _REACH = -1.0, 3.0  # the logarithms of deviations lie in [-4, 2], as factors 0.018 to 7.4
_FIRST_DEVIATION = 0.6  # a deviation is this part of that of the music before anything is learned


@keras.saving.register_keras_serializable(package="gruvlike")
class Mixture(Head):
    """A mixture of Gaussian distributions over the whole next frame, each with a mean and a deviation for each number.

    A frame is drawn as a whole: first one of the components, then the numbers, each around that component's mean. So a
    network can say "a drum or none" where the mean of both is neither. `components=1` is a single Gaussian.

    The outputs are `components * W` means, as many logarithms of deviations, and `components` logits of the weights.
    The logarithms are bounded softly to (-4, 2): a likelihood that could grow without end would make training blow up.
    The loss is the negative logarithm of the density, over W: nats a number.

    Args:
        components: How many distributions, K.
        temperature: Of songs, unless `Generator` is told otherwise: the deviations of draws over those learned.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> head = Mixture(components=2)
        >>> head.outputs(3), head.draws(3)
        (14, 4)
        >>> output = np.zeros((1, 14), "float32")
        >>> output[0, :3] = 5.0  # the means of the first component
        >>> ops.convert_to_numpy(head.mean(output))
        array([[2.5, 2.5, 2.5]], dtype=float32)

    References:
        Bishop, "Mixture Density Networks", 1994.
        Graves, "Generating Sequences With Recurrent Neural Networks", 2013 (a mixture as the output of a recurrent
        network, and less than its deviation when sampling).
    """

    residual = True

    def __init__(self, components: int = 8, temperature: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.components = _checks.positive_int("components", components)
        self.temperature = _checks.number("temperature", temperature, 0)

    def outputs(self, width: int) -> int:
        """Returns `components * (2 * width + 1)`."""
        return self.components * (2 * width + 1)

    def draws(self, width: int) -> int:
        """Returns `width + 1`: one number chooses the component."""
        return width + 1

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns means (..., K, W), logarithms of deviations (..., K, W) and of weights (..., K) of outputs (..., O).

        Example:
            >>> means, log_deviations, log_weights = Mixture(2).parts(ops.zeros((1, 14)))
            >>> means.shape[-2:] == (2, 3), bool(abs(float(log_weights[0, 0]) - np.log(0.5)) < 1e-6)
            (True, True)
        """
        count = self.components
        width = (output.shape[-1] // count - 1) // 2
        lead = ops.shape(output)[:-1]
        # The gradient of a split is one concatenation, that of three slices three padded arrays and their sum.
        means, raw, logits = ops.split(output, [count * width, 2 * count * width], axis=-1)
        log_deviations = _CENTER + _REACH * ops.tanh((ops.reshape(raw, (*lead, count, width)) - _CENTER) / _REACH)
        return ops.reshape(means, (*lead, count, width)), log_deviations, ops.log_softmax(logits, axis=-1)

    def log_density(self, target: Tensor, output: Tensor) -> Tensor:
        """Returns the logarithm of the density (...,) at targets (..., W), in nats.

        Example:
            >>> wide = Mixture(1).log_density(ops.zeros((1, 1)), ops.ones((1, 3)))
            >>> -1.8 < float(wide[0]) < -1.7
            True
        """
        means, log_deviations, log_weights = self.parts(output)
        scaled = (ops.expand_dims(target, -2) - means) * ops.exp(-log_deviations)
        each = -ops.sum(0.5 * ops.square(scaled) + log_deviations, axis=-1) + log_weights
        return ops.logsumexp(each, axis=-1) - 0.5 * math.log(2 * math.pi) * target.shape[-1]

    def loss(self, target: Tensor, output: Tensor) -> Tensor:
        """Returns the negative logarithm of the density of each frame, (...,), over W."""
        return -self.log_density(ops.cast(target, "float32"), output) / target.shape[-1]

    def mean(self, output: Tensor) -> Tensor:
        """Returns the mean of the whole mixture, (..., W)."""
        means, _, log_weights = self.parts(ops.cast(output, "float32"))
        return ops.sum(ops.expand_dims(ops.exp(log_weights), -1) * means, axis=-2)

    def sample(self, output: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """Draws a frame: a component by its weight, then each number, with its deviation times the temperature.

        At a temperature of 0 it is the mean of the component that was drawn.
        """
        means, log_deviations, log_weights = self.parts(output)
        reached = ops.cumsum(ops.exp(log_weights), axis=-1)
        # The last sum can be less than 1 by rounding: the last component takes the rest.
        index = ops.sum(ops.cast(ops.greater(noise[..., :1], reached[..., :-1]), "int32"), axis=-1)
        # `ops.equal` takes the place of `ops.one_hot`: on torch that looks at the values, which a recorded step cannot.
        chosen = ops.cast(ops.equal(index[..., None, None], ops.arange(self.components)[:, None]), "float32")
        mean, log_deviation = (ops.sum(chosen * part, axis=-2) for part in (means, log_deviations))
        normal = np.float32(math.sqrt(2)) * ops.erfinv(2.0 * noise[..., 1:] - 1.0)
        return mean + temperature * ops.exp(log_deviation) * normal

    def shift(self, output: Tensor, offset: Tensor) -> Tensor:
        """Returns outputs with the offset added to the means of all components."""
        count, width = self.components, offset.shape[-1]
        means, rest = ops.split(output, [count * width], axis=-1)
        return ops.concatenate([means + ops.tile(offset, (*[1] * (len(offset.shape) - 1), count)), rest], axis=-1)

    def start(self, width: int, spread: Tensor) -> Tensor:
        """Returns the logarithms of deviations to start from: 0.6 of the deviation of the music."""
        wanted = np.clip(np.log(_FIRST_DEVIATION * np.maximum(np.asarray(spread, "float64"), 1e-6)), -3.9, 1.9)
        raw = _CENTER + _REACH * np.arctanh((wanted - _CENTER) / _REACH)
        parts = np.zeros(self.components * width), np.tile(raw, self.components), np.zeros(self.components)
        return np.concatenate(parts).astype("float32")
