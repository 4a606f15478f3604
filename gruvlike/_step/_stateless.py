"""A stack whose states travel outside of it: which stacks allow that, and the model that does it.

A recurrent layer of Keras keeps its states to itself. `StatelessStack` makes a second model around the same layers
(hence the same weights) in which each recurrent layer starts from given states and gives back those after it. The
states travel as a flat list, so that one model serves a `tf.while_loop`, a `lax.while_loop`, a Python loop and a
training step.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from gruvlike._contracts import Shape, Tensor

# These layers treat each frame alone, so the states of the recurrent layers are all there is to carry.
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
# These layers do the same as long as they work along the features, which is their last axis.
_FRAMEWISE_LAST_AXIS = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Softmax,
)
# These operations of a functional model are no layers, such as `x + y`. Each has the name of its class here.
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


Weights = tuple[list[Tensor], list[Tensor]]  # the first list holds the weights that train, the second the others


class Purpose(NamedTuple):
    """The reason for carrying states, as errors say it."""

    where: str
    instead: str


GENERATION = Purpose(
    'With `history="carry"`',
    'Use `history="full"` (the whole past again at each step) or `history=k` (the last k frames)',
)


def layers_of(model: keras.Model) -> Iterator[keras.Operation]:
    """Yields the layers and operations of a model, those of inner models and wrappers included."""
    for layer in getattr(model, "operations", model.layers):
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        elif isinstance(layer, keras.layers.Wrapper):
            yield layer.layer


def _over_time(model: keras.Model) -> Iterator[keras.Operation]:
    """Yields the layers and operations that see the axis of time: those inside a `TimeDistributed` see one frame."""
    for layer in getattr(model, "operations", model.layers):
        yield layer
        if isinstance(layer, keras.Model):
            yield from _over_time(layer)
        elif isinstance(layer, keras.layers.Wrapper) and not isinstance(layer, keras.layers.TimeDistributed):
            yield layer.layer


def keep_frames(stack: keras.Model) -> None:
    """Lets the frames into `stack` as they are: under a policy of half precision Keras would round them first.

    The layers themselves still compute as their policies say.
    """
    for model in (stack, *layers_of(stack)):
        if isinstance(model, keras.Model) and is_functional(model):  # others may have weights of their own
            model.autocast = False


def inputs_of(stack: keras.Model, frames: Tensor, given: Mapping[str, Tensor] | None = None) -> Any:
    """Returns the inputs of a call of `stack`: frames, and the numbers of its other inputs, by their names."""
    return [given.get(one.name, frames) for one in stack.inputs] if given else frames


def refuse_backwards(stack: keras.Model) -> None:
    """Raises if a layer of `stack` reads backwards, or music before that of a song: no history helps it."""
    _refuse(stack, _reads_backwards)


def refuse_future(stack: keras.Model) -> None:
    """Raises if a layer of `stack` is known to read the future: such a stack cannot predict the next frame."""
    _refuse(stack, lambda layer: _reads_backwards(layer) or _reads_both_sides(layer))


def _refuse(stack: keras.Model, reason_of: Callable[[keras.Operation], str | None]) -> None:
    for layer in _over_time(stack):
        if reason := reason_of(layer):
            raise ValueError(
                "A stack that generates must read only the past. "
                f"Received: layer {layer.name!r} ({type(layer).__name__}), which {reason}."
            )


def _reads_backwards(layer: keras.Operation) -> str | None:
    """Returns how a layer reads backwards, and the remedy, or `None`."""
    if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
        return "reads backwards. Use a plain LSTM or GRU"
    if isinstance(layer, keras.layers.RNN) and layer.stateful:
        return (
            "keeps its states from batch to batch, whatever music comes next. Leave `stateful` out, and train on "
            "`corpus.windows(..., stateful=True)`"
        )
    return None


def _reads_both_sides(layer: keras.Operation) -> str | None:
    size: Any = getattr(layer, "kernel_size", ())
    along_time = len(size) == 1 and size[0] > 1 and getattr(layer, "data_format", "") == "channels_last"
    if along_time and getattr(layer, "padding", "causal") == "same":
        return 'reads the frames on both sides (padding="same"). Use `padding="causal"`'
    return None


def is_functional(stack: keras.Model) -> bool:
    """Whether the layers of `stack` and how they are connected are known (a functional or sequential model)."""
    return getattr(stack, "inputs", None) is not None or hasattr(stack, "operations")


def check_carries(stack: keras.Model, purpose: Purpose = GENERATION) -> None:
    """Raises, naming the layer, if the state of `stack` cannot be carried from frame to frame."""
    if not is_functional(stack):
        raise ValueError(_cannot_carry(stack, "is a subclassed model, whose layers cannot be seen", purpose))
    for layer in _over_time(stack):
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


def _works_on_features(layer: keras.Operation) -> bool:
    if getattr(layer, "frames_alone", False):  # layers of ours, and of users, say it themselves
        return True
    if not isinstance(layer, keras.Layer):
        return type(layer).__name__ in _FRAMEWISE_OPERATIONS
    if not isinstance(layer, _FRAMEWISE_LAST_AXIS):
        return False
    axis = layer.axis[0] if isinstance(layer.axis, list | tuple) and len(layer.axis) == 1 else layer.axis
    return axis in (-1, 2)


def _cannot_carry(layer: keras.Operation, why: str, purpose: Purpose) -> str:
    return (
        f"{purpose.where} every layer must be recurrent or treat each frame alone. "
        f"Received: layer {layer.name!r} ({type(layer).__name__}), which {why}. "
        f"{purpose.instead}, or wrap a layer that treats each frame alone in `keras.layers.TimeDistributed`."
    )


class _Run(threading.local):
    """The states during one call of the model, in the order in which its recurrent layers are used.

    A layer that is used twice has two places. Threads that trace or run the same model do not see each other's states.

    Attributes:
        before: The states that are left to start from; `None`: each layer starts from its own initial states.
        after: The states after the layers that were used, flat.
        used: The layers that were used.
    """

    before: Iterator[Any] | None
    after: list[Tensor]
    used: list[keras.layers.RNN]

    def __init__(self) -> None:
        self.clear()

    def clear(self, before: Iterator[Any] | None = None) -> None:
        """Begins another call."""
        self.before, self.after, self.used = before, [], []


class _FromStates(keras.layers.Layer):
    """A recurrent layer from given states to those after it; a single frame takes one step of its cell."""

    def __init__(self, recurrent: keras.layers.RNN, run: _Run, purpose: Purpose):
        super().__init__(dtype=recurrent.dtype_policy)
        self.recurrent, self.run, self.purpose = recurrent, run, purpose
        self.cell = recurrent.cell
        self.built = True

    def call(
        self,
        frames: Tensor,
        initial_state: Tensor | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        if initial_state is not None:
            raise ValueError(
                _cannot_carry(self.recurrent, "starts from a state that other layers give it", self.purpose)
            )
        run = self.run
        before = _initial(self.recurrent, ops.shape(frames)[0]) if run.before is None else next(run.before)
        output, after = self._one(frames, before) if frames.shape[1] == 1 else self._all(frames, before, training)
        # A loop wants the types of states to stay as they are, whatever a cell makes of them.
        pairs = zip(keras.tree.flatten(after), keras.tree.flatten(before), strict=True)
        run.after.extend(ops.cast(new, old.dtype) for new, old in pairs)
        run.used.append(self.recurrent)
        return output

    def _one(self, frames: Tensor, before: list[Any]) -> tuple[Tensor, list[Any]]:
        # A cell of the user's own need not take `training`, nor give its only state in a list.
        options = {"training": False} if "training" in inspect.signature(self.cell.call).parameters else {}
        output, after = self.cell(frames[:, 0, :], before, **options)
        return ops.cast(output[:, None, :], self.compute_dtype), _listed(after)

    def _all(self, frames: Tensor, before: list[Any], training: bool | None) -> tuple[Tensor, list[Any]]:
        # The layer is the stack's own, so it returns its states during this call alone.
        self.recurrent.return_state = True
        try:
            output, *after = self.recurrent(frames, initial_state=before, training=training)
        finally:
            self.recurrent.return_state = False
        return output, after

    def compute_output_shape(self, input_shape: Shape, **_: Any) -> Shape:
        return self.recurrent.compute_output_shape(input_shape)


def _listed(states: Any) -> list[Any]:
    return list(states) if isinstance(states, list | tuple) else [states]


def _initial(layer: keras.layers.RNN, batch_size: Any) -> list[Any]:
    """Returns the states that a layer starts from, of the type that it gives them itself."""
    dtype = getattr(layer.cell, "compute_dtype", layer.compute_dtype)
    states = layer.get_initial_state(batch_size=batch_size)
    return keras.tree.map_structure(lambda state: ops.cast(state, dtype), states)


class _Traced(keras.layers.Layer):
    """A call of a model of which only the shapes are computed: Keras does so for a layer that does not tell its own."""

    def __init__(self, model: keras.Model, run: _Run):
        super().__init__()
        self.model, self.run = model, run

    def call(self, inputs: Any) -> Tensor:
        self.run.clear()  # torch calls a second time where its first try, without numbers, fails
        return self.model(inputs, training=False)


class StatelessStack:
    """The stack as a function of (frames, states).

    Args:
        stack: A model whose layers are recurrent or treat each frame alone.
        purpose: The reason for carrying states, as errors say it.

    Attributes:
        model: A Keras model (B, T, W) -> (B, T, O) that shares all the weights of the stack. Only `step` can call it.
    """

    def __init__(self, stack: keras.Model, purpose: Purpose = GENERATION):
        check_carries(stack, purpose)
        self._purpose = purpose
        self._run = _Run()
        # `plain` is a new model around the same graph: the cloning of a compiled stack would copy its optimizer.
        plain = keras.Model(stack.inputs, stack.outputs)
        self.model = keras.models.clone_model(plain, clone_function=self._replace, recursive=True)
        keep_frames(self.model)
        self._recurrent = self._find_uses()

    def _replace(self, layer: keras.Layer) -> keras.Layer:
        return _FromStates(layer, self._run, self._purpose) if isinstance(layer, keras.layers.RNN) else layer

    def _find_uses(self) -> list[keras.layers.RNN]:
        """Returns the recurrent layers in the order of a call of the model, each as often as it is used."""
        inputs = [keras.KerasTensor((1, 1, one.shape[-1]), one.dtype) for one in self.model.inputs]
        self._run.clear()
        try:
            _Traced(self.model, self._run)(inputs if len(inputs) > 1 else inputs[0])
            return list(self._run.used)
        finally:
            self._run.clear()

    def refresh(self) -> None:
        """Takes over the weights after more training: nothing to do where they are shared."""

    def initial_states(self, batch_size: int) -> list[Tensor]:
        """Returns the states before the first frame, flat, as `step` takes them and gives them back."""
        return keras.tree.flatten([_initial(layer, batch_size) for layer in self._recurrent])

    def weights(self) -> Weights:
        """Returns the values of all weights as they are now: those that train, and the others."""
        model = self.model
        return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def with_weights(self, weights: Weights) -> Callable[[Any], Tensor]:
        """Returns a function of inputs (B, 1, W) for `step` that computes with the given weights."""
        return lambda inputs: self.model.stateless_call(*weights, inputs, training=False)[0]

    def step(self, call: Callable[[Any], Tensor], inputs: Any, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Runs `call(inputs)`, a call of `model`, from `states`; returns its output and the states after it.

        `inputs` are frames (B, T, W), or a list of those and of the other inputs. A single frame, (B, 1, W), goes
        through the cells without recurrent dropout.
        """
        structure = [layer.get_initial_state(batch_size=1) for layer in self._recurrent]
        self._run.clear(iter(keras.tree.pack_sequence_as(structure, states)))
        try:
            output, after = call(inputs), self._run.after
        finally:
            self._run.clear()
        frames = inputs[0] if isinstance(inputs, list) else inputs
        if output.shape[1] != frames.shape[1]:  # a constant with a time axis of its own does this, for instance
            raise ValueError(
                f"{self._purpose.where} one frame in must give one frame out. Received: {output.shape[1]} frames for "
                f"{frames.shape[1]} from {self.model.name!r}. {self._purpose.instead}."
            )
        return output, after
