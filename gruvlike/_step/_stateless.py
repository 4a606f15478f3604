"""A stack whose states travel outside: which stacks allow it, and the twin that does it.

The twin shares every layer (hence every weight) with the stack; only recurrent layers are wrapped, each to start from
given states and to give back those after it. They travel as a flat list, so that the same twin serves a
`tf.while_loop`, a `lax.while_loop`, a Python loop and a training step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

# Layers that treat each frame alone: carrying the state of the recurrent layers is all there is to carry.
_FRAMEWISE = (
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.TimeDistributed,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
    keras.layers.Rescaling,
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
)
# The same, as long as they work along the features, which is their last axis.
_FRAMEWISE_LAST_AXIS = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Softmax,
)
# Operations of a functional model that are no layers, such as `x + y`, by the name of their class.
_FRAMEWISE_OPERATIONS = {
    "Add",
    "Subtract",
    "Multiply",
    "Divide",
    "TrueDivide",
    "Negative",
    "Tanh",
    "Sigmoid",
    "Relu",
    "Silu",
}


class Purpose(NamedTuple):
    """What states are carried for, as errors say it."""

    where: str
    instead: str


GENERATION = Purpose(
    'With `history="carry"`',
    'Use `history="full"` (the whole past again at each step) or `history=k` (the last k frames)',
)


def layers_of(model: keras.Model) -> Iterator[Any]:
    """Yields the layers and operations of a model, those of inner models and wrappers included."""
    for layer in getattr(model, "operations", model.layers):
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        elif isinstance(layer, keras.layers.Wrapper):
            yield layer.layer


def refuse_bidirectional(stack: keras.Model) -> None:
    """Raises if a layer of `stack` reads the future: such a stack cannot predict the next frame."""
    for layer in layers_of(stack):
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise ValueError(
                "A stack that generates must read only the past. "
                f"Received: layer {layer.name!r} ({type(layer).__name__}), which reads backwards. "
                "Use a plain LSTM or GRU."
            )


def is_functional(stack: keras.Model) -> bool:
    """Whether the layers of `stack` and how they are connected are known (a functional or sequential model)."""
    return isinstance(stack, keras.Sequential) or hasattr(stack, "operations")


def check_carries(stack: keras.Model, purpose: Purpose = GENERATION) -> None:
    """Raises, naming the layer, if the state of `stack` cannot be carried from frame to frame."""
    if not is_functional(stack):
        raise ValueError(_cannot_carry(stack, "is a subclassed model, whose layers cannot be seen", purpose))
    for layer in layers_of(stack):
        if isinstance(layer, keras.layers.RNN):
            if not layer.return_sequences or layer.return_state:
                raise ValueError(_cannot_carry(layer, "needs return_sequences=True and return_state=False", purpose))
        elif not (isinstance(layer, _FRAMEWISE) or is_functional(layer) or _works_on_features(layer)):
            raise ValueError(_cannot_carry(layer, "is not known to treat each frame alone", purpose))


def carries(stack: keras.Model) -> bool:
    """Whether the state of `stack` can be carried from frame to frame."""
    try:
        check_carries(stack)
    except ValueError:
        return False
    return True


def _works_on_features(layer: Any) -> bool:
    if not isinstance(layer, keras.Layer):
        return type(layer).__name__ in _FRAMEWISE_OPERATIONS
    if not isinstance(layer, _FRAMEWISE_LAST_AXIS):
        return False
    axis = layer.axis[0] if isinstance(layer.axis, list | tuple) and len(layer.axis) == 1 else layer.axis
    return axis in (-1, 2)


def _cannot_carry(layer: Any, why: str, purpose: Purpose) -> str:
    return (
        f"{purpose.where} every layer must be recurrent or treat each frame alone. "
        f"Received: layer {layer.name!r} ({type(layer).__name__}), which {why}. "
        f"{purpose.instead}, or wrap a layer that treats each frame alone in `keras.layers.TimeDistributed`."
    )


class _Memory:
    """Where a call of the twin finds the states to go on from, and leaves the new ones: filled only during the call."""

    def __init__(self) -> None:
        self.states: dict[int, Any] = {}


class _Carried(keras.layers.Layer):
    """A recurrent layer from the states in memory to those after it; a single frame takes one step of its cell."""

    def __init__(self, recurrent: keras.layers.RNN, index: int, memory: _Memory, purpose: Purpose):
        super().__init__(dtype=recurrent.dtype_policy)
        self.recurrent, self.index, self.memory, self.purpose = recurrent, index, memory, purpose
        self.cell = recurrent.cell
        self.built = True

    def call(self, frames: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None) -> Any:
        if initial_state is not None:
            raise ValueError(
                _cannot_carry(self.recurrent, "starts from a state that other layers give it", self.purpose)
            )
        states = self.memory.states[self.index]
        if frames.shape[1] == 1:
            output, self.memory.states[self.index] = self.cell(frames[:, 0, :], states, training=False)
            return output[:, None, :]
        self.recurrent.return_state = True  # only here: the layer is the stack's own
        try:
            output, *self.memory.states[self.index] = self.recurrent(frames, initial_state=states, training=training)
        finally:
            self.recurrent.return_state = False
        return output

    def compute_output_shape(self, input_shape: tuple, **_: Any) -> tuple:
        return self.recurrent.compute_output_shape(input_shape)


class StatelessStack:
    """The stack as a function of (frames, states): what every backend's loop calls.

    Args:
        stack: A model whose layers are recurrent or treat each frame alone.
        purpose: What it is for, as errors say it.

    Attributes:
        model: A keras model (B, T, F) -> (B, T, F') that shares all the weights of the stack.
    """

    def __init__(self, stack: keras.Model, purpose: Purpose = GENERATION):
        check_carries(stack, purpose)
        self._purpose = purpose
        self._memory = _Memory()
        self._cells: list[Any] = []
        # A model of its own around the same graph: a compiled stack would have its optimizer copied by the cloning.
        plain = keras.Model(stack.inputs, stack.outputs)
        self.model = keras.models.clone_model(plain, clone_function=self._replace, recursive=True)

    def _replace(self, layer: Any) -> Any:
        if not isinstance(layer, keras.layers.RNN):
            return layer
        self._cells.append(layer.cell)
        return _Carried(layer, len(self._cells) - 1, self._memory, self._purpose)

    def refresh(self) -> None:
        """Takes over what training has changed: nothing to do where the weights are shared."""

    def initial_states(self, batch_size: int) -> list[Any]:
        """Returns the states before the first frame, flat: what `step` takes and gives back."""
        states = [cell.get_initial_state(batch_size=batch_size) for cell in self._cells]
        return keras.tree.flatten(states)

    def step(self, call: Any, frames: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Runs `call(frames)`, a call of `model`, from `states`; returns its output and the states after it.

        A single frame, (B, 1, F), goes through the cells without recurrent dropout.
        """
        structure = [cell.get_initial_state(batch_size=1) for cell in self._cells]
        nested = keras.tree.pack_sequence_as(structure, states)
        self._memory.states = dict(enumerate(nested))
        output = call(frames)
        if output.shape[1] != frames.shape[1]:  # for instance after adding a constant with a time axis of its own
            raise ValueError(
                f"{self._purpose.where} one frame in must give one frame out. Received: {output.shape[1]} frames for "
                f"{frames.shape[1]} from {self.model.name!r}. {self._purpose.instead}."
            )
        after = [self._memory.states[index] for index in range(len(self._cells))]
        self._memory.states = {}
        return output, keras.tree.flatten(after)
