"""A stack in training reads the music, and with it its own predictions, and the states after the batch before."""

from typing import Any, NamedTuple

import keras
from keras import ops

from gruvlike._contracts import Tensor
from gruvlike._step._stateless import Purpose, inputs_of
from gruvlike._step._step import Step, bounded
from gruvlike.heads import Head

TRAINING = Purpose("For `rollout_steps` and stateful windows", "Leave them out")


class ScheduledSampling(keras.layers.Layer):
    """Replaces inputs by predictions: in each update another random choice of frames, and a share that grows.

    Args:
        share: Of the frames, at the end of the growth.
        updates: Training steps until then: the share grows linearly from 0.
        random_seed: Decides which frames; `None` follows `keras.utils.set_random_seed`.
    """

    def __init__(self, share: float, updates: int, random_seed: int | None):
        super().__init__(name="scheduled_sampling", dtype="float32")
        self.share, self.growth = share, updates
        self.random = keras.random.SeedGenerator(random_seed)
        # The number of updates is a variable, because on JAX the optimizer's counter cannot be read in a forward pass.
        # It is saved with the model. It is a float, because TensorFlow moves integers between host and GPU.
        self.updates = self.add_weight(
            shape=(), initializer="zeros", trainable=False, dtype="float32", autocast=False, name="updates"
        )
        self.built = True

    def draw(self, head: Head, outputs: Tensor, width: int) -> Tensor:
        """Returns frames (B, T, W) as in a song: drawn, where the head draws.

        In a song random numbers come in as data. Here they come from the layer, whose state a resumed run restores.
        """
        draws = head.draws(width)
        if not draws:
            return head.next_frame(outputs)
        shape = (*ops.shape(outputs)[:2], draws)
        noise = keras.random.uniform(shape, 2.0**-24, 1.0, dtype="float32", seed=self.random)
        return head.next_frame(outputs, noise, ops.convert_to_tensor(head.temperature, "float32"))

    def call(self, frames: Tensor, guesses: Tensor) -> Tensor:
        """Mixes frames (B, T, F) with the guesses (B, T - 1, F) at all but the first of them."""
        share = self.share * ops.minimum(self.updates / self.growth, 1.0)
        self.updates.assign_add(1.0)
        chosen = keras.random.uniform((*ops.shape(guesses)[:2], 1), dtype="float32", seed=self.random) < share
        return ops.concatenate([frames[:, :1], ops.where(chosen, guesses, frames[:, 1:])], axis=1)


class CarriedStates(keras.layers.Layer):
    """The states after the last batch, as variables. A saved file holds none of them: it starts from zero."""

    def __init__(self) -> None:
        super().__init__(name="carried_states")
        self._count = 0
        self.built = True  # otherwise each `train_on_batch` has Keras trace the whole model first, to build it

    def prepare(self, initial: list[Tensor]) -> bool:
        """Makes room for states like `initial`, each (B, units); returns whether there was none."""
        shapes = [tuple(state.shape) for state in initial]
        if shapes == [variable.shape for variable in self.read()]:
            return False
        for index in range(self._count):
            delattr(self, f"state_{index}")
        for index, (shape, state) in enumerate(zip(shapes, initial, strict=True)):
            dtype = keras.backend.standardize_dtype(state.dtype)
            variable = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, dtype=dtype, autocast=False, name=f"state_{index}"
            )
            setattr(self, f"state_{index}", variable)
        self._count = len(initial)
        return True

    def read(self) -> list[keras.Variable]:
        """Returns the variables."""
        return [getattr(self, f"state_{index}") for index in range(self._count)]

    def start(self, reset: Tensor) -> list[Tensor]:
        """Returns the states to start from: zeros for the rows where `reset` (B,) is true."""
        # The states are always copied, because torch keeps the first ones for the gradient, and the variables change.
        states = [ops.convert_to_tensor(variable) for variable in self.read()]
        return [ops.where(_like(reset, state), ops.zeros_like(state), state) for state in states]

    def keep(self, states: list[Tensor]) -> None:
        """Keeps the states after a batch, without their gradient: back-propagation ends at the batch."""
        for variable, state in zip(self.read(), states, strict=True):
            variable.assign(ops.cast(ops.stop_gradient(state), variable.dtype))

    def save_own_variables(self, store: object) -> None:
        """Saves nothing."""

    def load_own_variables(self, store: object) -> None:
        """Loads nothing."""


def _like(rows: Tensor, state: Tensor) -> Tensor:
    """Returns a value for each row, (B,), with as many axes as a state has."""
    return ops.reshape(rows, (-1, *[1] * (len(state.shape) - 1)))


class Reading(NamedTuple):
    """All that a stack reads of a batch of windows.

    Attributes:
        frames: The frames of the music, (B, T, W).
        given: The numbers of its other inputs, each (B, T, n), by name.
        reset: Where carried states are forgotten first, bool (B,); `None`: states are not carried.
    """

    frames: Tensor
    given: dict[str, Tensor]
    reset: Tensor | None

    def at(self, steps: slice) -> dict[str, Tensor]:
        """Returns the numbers of the other inputs at some steps."""
        return {name: numbers[:, steps] for name, numbers in self.given.items()}


def run_in_training(
    stack: keras.Model,
    head: Head,
    step: Step | None,
    reading: Reading,
    sampling: ScheduledSampling | None = None,
    rollout_steps: int = 0,
    carried: CarriedStates | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Runs a stack over a batch of windows in training.

    Args:
        stack: The stack.
        head: Turns outputs of the stack into the frames that are fed back.
        step: One step of the stack; `None` will do without rollout and states.
        reading: The music, which the stack reads unless its frames are replaced.
        sampling: Replaces frames by predictions.
        rollout_steps: The last frames, so many, are the predictions of the step before, one after the other.
        carried: The states that are kept from batch to batch.
        bounds: Least and greatest value of each number of a frame that is fed back, (W,) each.

    Returns:
        Outputs (B, T, O).
    """

    def run(frames: Tensor, states: list[Tensor], at: slice, training: bool = True) -> tuple[Tensor, list[Tensor]]:
        if step is None:
            return stack(inputs_of(stack, frames, reading.at(at)), training=training), states
        return step.read(frames, states, reading.at(at), lambda x: step.stack.model(x, training=training))

    frames, reset = reading.frames, reading.reset
    states: list[Tensor] = []  # there are none without a step
    if step is not None:
        states = (
            carried.start(reset) if carried and reset is not None else step.stack.initial_states(ops.shape(frames)[0])
        )
    if sampling:
        outputs, _ = run(frames[:, :-1], states, slice(None, -1), training=False)  # a song has no dropout either
        guesses = bounded(sampling.draw(head, outputs, frames.shape[-1]), bounds)
        frames = sampling(frames, ops.stop_gradient(guesses))
    last: Any = frames.shape[1] - rollout_steps if rollout_steps else None
    outputs, states = run(frames[:, :last], states, slice(None, last))
    found, own = [outputs], states
    for place in range(rollout_steps):
        at = slice(last + place, last + place + 1)
        outputs, own = run(bounded(head.next_frame(outputs[:, -1:]), bounds), own, at)
        found.append(outputs)
    if carried:  # the next batch goes on after the music, not after the predictions that took its place
        at = slice(last, None)
        carried.keep(run(frames[:, at], states, at)[1] if rollout_steps else states)
    return ops.concatenate(found, axis=1) if rollout_steps else outputs
