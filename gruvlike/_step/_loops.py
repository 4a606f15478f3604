"""The compiled loop of generation: steps that read a seed, then steps that read the step before.

One program is compiled for each (network, number of clips, chunk). All else is data, the `Orders` of a run, so that
nothing more is compiled. Seeds of unlike lengths end together, so a shorter one begins later: then its states are set
back to the beginning, between two runs of the program.
"""

import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import keras
import numpy as np

from gruvlike._contracts import Tensor
from gruvlike._step._stateless import Weights
from gruvlike._step._step import Carried, Pull, Step

_CHUNK_BYTES = 8 * 2**20  # the size of the output frames bounds memory, and how often the host is asked
Recorded = Callable[..., Sequence[Tensor]]  # (the arguments in a row) -> the next frame, and the states after it
Numbers = Mapping[str, np.ndarray]  # the stack's other inputs get these numbers, (T, n) each, by name

_ALL = 2**30  # every chunk has fewer steps
_RECORDING = threading.Lock()  # torch changes its modules while it records one


class Orders(NamedTuple):
    """All that a run of the loop is told.

    Attributes:
        steps: How many of the chunk's steps are taken. A song of any length is some whole chunks and a part of one.
        buffer: Frames of a seed, (chunk, B, W).
        forced: The first so many steps read the buffer, the others the frame of the step before.
        noise: Uniform numbers of each step, (chunk, B, draws), made on the host by `uniform_noise`.
        temperature: Of the draws.
        given: Numbers of the stack's other inputs at each step, each (chunk, B, n), by name.
        pull: Of the leash; without effect on a step that has none.
    """

    steps: Any
    buffer: Tensor
    forced: Any
    noise: Tensor
    temperature: Any
    given: dict[str, Tensor]
    pull: Pull

    def at(self, index: Any) -> tuple[Tensor, Any, dict[str, Tensor], Pull]:
        """Returns the arguments of step number `index` that follow those which are carried."""
        return self.noise[index], self.temperature, {name: one[index] for name, one in self.given.items()}, self.pull


class Loop:
    """A compiled function from (frames to read, states) to (frames predicted, states).

    Args:
        step: One step of the network.
        batch_size: Number of clips.
        chunk: The most steps that one run can take; `None` chooses by memory.

    Attributes:
        chunk: As given or chosen.
    """

    def __init__(self, step: Step, batch_size: int, chunk: int | None = None):
        self.step = step
        frame_bytes = 4 * batch_size * max(step.width, step.draws)
        self.chunk = int(np.clip(_CHUNK_BYTES // frame_bytes, 8, 256)) if chunk is None else chunk
        self._shape = (self.chunk, batch_size, step.width)
        # Inputs that most runs do not use stay on the device.
        self._no_frames = keras.ops.zeros(self._shape, "float32")
        self._no_noise = keras.ops.full((self.chunk, batch_size, step.draws), 0.5, "float32")
        nothing = keras.ops.zeros(self._shape[1:], "float32")
        self._no_pull = Pull(0.0, nothing, nothing)

    def start(self) -> Carried:
        """Returns the zero frame and the initial states."""
        return self.step.start(self._shape[1])

    def read(self, seeds: Sequence[np.ndarray], carried: Carried, given: Sequence[Numbers] | None = None) -> Carried:
        """Reads the frames of each clip, (T, W) of any lengths; the frame that is carried then is of no use.

        Args:
            seeds: The frames of each clip.
            carried: The states to begin with.
            given: Of each clip, the numbers of the stack's other inputs, (T, n) each.

        Returns:
            The states after the last frame of each, carried into the first `run`.
        """
        longest, first = max(map(len, seeds)), carried
        begin = np.array([longest - len(seed) for seed in seeds])
        names = list(given[0]) if given else []
        for start, stop in pairwise(sorted({*range(0, longest, self.chunk), *begin.tolist(), longest})):
            parts = {name: _aligned([one[name] for one in given or ()], start, stop, self.chunk) for name in names}
            orders = Orders(
                steps=stop - start,
                buffer=keras.ops.convert_to_tensor(_aligned(seeds, start, stop, self.chunk)),
                forced=_ALL,
                noise=self._no_noise,
                temperature=0.0,
                given=keras.tree.map_structure(keras.ops.convert_to_tensor, parts),
                pull=self._no_pull,
            )
            _, carried = self._run(orders, carried)
            if stop in begin:
                carried = _with_states(carried, first, begin == stop)
        return carried

    def run(
        self,
        steps: int,
        carried: Carried,
        noise: np.ndarray | None = None,
        temperature: float = 1.0,
        given: Numbers | None = None,
        pull: Pull | None = None,
    ) -> tuple[np.ndarray, Carried]:
        """Takes `steps` steps, at most `chunk`, each of which reads the frame of the step before.

        Args:
            steps: How many.
            carried: The result of the run before, or of `read`.
            noise: Uniform numbers (B, steps, draws); not needed if nothing is drawn.
            temperature: Of the draws.
            given: Numbers of the stack's other inputs, (B, steps, n) each, by name.
            pull: Of the leash, if the step has one.

        Returns:
            Frames (B, steps, W), and the argument `carried` of the next run.
        """
        drawn = self._no_noise if noise is None or not self.step.draws else self._padded(noise, 0.5)
        numbers = {name: self._padded(one, 0.0) for name, one in (given or {}).items()}
        pull = self._no_pull if pull is None else pull
        orders = Orders(steps, self._no_frames, 0, drawn, temperature, numbers, pull)
        outputs, carried = self._run(orders, carried)
        # The host cuts the outputs: on JAX a slice of the tensor would compile anew for each number of steps.
        return keras.ops.convert_to_numpy(outputs)[:steps].swapaxes(0, 1), carried

    def _padded(self, numbers: np.ndarray, value: float) -> Tensor:
        """Returns numbers (B, steps, n) as (chunk, B, n)."""
        padded = np.full((self.chunk, len(numbers), numbers.shape[-1]), value, np.float32)
        padded[: numbers.shape[1]] = numbers.swapaxes(0, 1)
        return keras.ops.convert_to_tensor(padded)

    def _run(self, orders: Orders, carried: Carried) -> tuple[Tensor, Carried]:
        """Runs the compiled program of the backend; returns frames (chunk, B, W), and those and the states to carry."""
        raise NotImplementedError


def _aligned(clips: Sequence[np.ndarray], start: int, stop: int, chunk: int) -> np.ndarray:
    """Returns steps [start, stop) of clips (T, n) that end together, (chunk, B, n), with zeros around them."""
    longest = max(map(len, clips))
    buffer = np.zeros((chunk, len(clips), clips[0].shape[-1]), np.float32)
    for number, clip in enumerate(clips):
        late = longest - len(clip)
        part = clip[max(0, start - late) : max(0, stop - late)]
        buffer[stop - start - len(part) : stop - start, number] = part
    return buffer


class _TensorFlowLoop(Loop):
    def __init__(self, step: Step, batch_size: int, chunk: int | None = None):
        super().__init__(step, batch_size, chunk)
        import tensorflow as tf

        self._tf = tf
        self._function = tf.function(self._graph, jit_compile=True, autograph=False)

    def _run(self, orders: Orders, carried: Carried) -> tuple[Tensor, Carried]:
        # A number of Python would be a constant of the program, and each other one a program of its own.
        outputs, *after = self._function(keras.tree.map_structure(self._tensor, orders), carried)
        return outputs, Carried(*after)

    def _tensor(self, one: Any) -> Tensor:
        return self._tf.constant(np.float32(one)) if isinstance(one, float) else self._tf.convert_to_tensor(one)

    def _graph(self, orders: Orders, carried: Carried) -> tuple[Tensor, Tensor, list[Tensor]]:
        tf = self._tf

        def body(index: Tensor, outputs: Any, frame: Tensor, states: list[Tensor]) -> tuple[Any, ...]:
            frame = tf.where(index < orders.forced, orders.buffer[index], frame)
            frame, states = self.step(Carried(frame, states), *orders.at(index))
            return index + 1, outputs.write(index, frame), frame, states

        outputs = tf.TensorArray(tf.float32, size=self.chunk, element_shape=self._shape[1:])
        start = (tf.constant(0), outputs, *carried)
        _, outputs, frame, states = tf.while_loop(lambda index, *_: index < orders.steps, body, start)
        return outputs.stack(), frame, states


class _JaxLoop(Loop):
    def __init__(self, step: Step, batch_size: int, chunk: int | None = None):
        super().__init__(step, batch_size, chunk)
        import jax

        self._jax = jax
        self._function = jax.jit(self._graph)

    def _run(self, orders: Orders, carried: Carried) -> tuple[Tensor, Carried]:
        # Weights are arguments: as captured constants they would be copied into the program, and stale after more
        # training.
        outputs, *after = self._function(self.step.stack.weights(), orders, carried)
        return outputs, Carried(*after)

    def _graph(self, weights: Weights, orders: Orders, carried: Carried) -> tuple[Tensor, Tensor, list[Tensor]]:
        jax, numpy = self._jax, self._jax.numpy
        call = self.step.stack.with_weights(weights)

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            index, outputs, frame, states = carry
            frame = numpy.where(index < orders.forced, orders.buffer[index], frame)
            frame, states = self.step(Carried(frame, states), *orders.at(index), call)
            return index + 1, jax.lax.dynamic_update_index_in_dim(outputs, frame, index, 0), frame, states

        start = (0, numpy.zeros(self._shape, "float32"), *carried)
        _, outputs, frame, states = jax.lax.while_loop(lambda carry: carry[0] < orders.steps, body, start)
        return outputs, frame, states


class _TorchLoop(Loop):
    """The step is recorded once, as the operations of torch that it runs, and those are run in a plain loop.

    Without the Python of the layers around them they take a tenth of the time, and need no C++ compiler.
    """

    def __init__(self, step: Step, batch_size: int, chunk: int | None = None, torch_compile: bool = False):
        super().__init__(step, batch_size, chunk)
        self._torch_compile = torch_compile
        self._device: Any = keras.ops.zeros(()).device
        self._recorded: Recorded | None = None

    def _run(self, orders: Orders, carried: Carried) -> tuple[Tensor, Carried]:
        import torch

        def number(value: float) -> torch.Tensor:
            return torch.tensor(float(value), device=self._device)

        weights, (frame, states) = self.step.stack.weights(), carried
        pull = orders.pull._replace(strength=number(orders.pull.strength))
        orders = orders._replace(temperature=number(orders.temperature), pull=pull)
        outputs = []
        with torch.no_grad():
            with _RECORDING:
                if self._recorded is None:
                    self._recorded = self._record(weights, frame, states, orders)
            for index in range(orders.steps):
                frame = orders.buffer[index] if index < orders.forced else frame
                frame, *states = self._recorded(*_flat(weights, frame, states, orders, index))
                outputs.append(frame)
            return torch.stack(outputs), Carried(frame, states)

    def _record(self, weights: Weights, frame: Tensor, states: list[Tensor], orders: Orders) -> Recorded:
        counts = [*map(len, weights), 1, len(states), 2, len(orders.given), len(orders.pull)]
        names, ends = list(orders.given), np.cumsum(counts)[:-1].tolist()

        # The arguments are tensors in a row: in lists and dictionaries, torch would look for them at each step.
        def graph(*tensors: Tensor) -> tuple[Tensor, ...]:
            parts = [list(tensors[start:stop]) for start, stop in zip([0, *ends], [*ends, None], strict=True)]
            trained, others, (frame,), states, (noise, temperature), given, pull = parts
            call = self.step.stack.with_weights((trained, others))
            numbers = dict(zip(names, given, strict=True))
            frame, states = self.step(Carried(frame, states), noise, temperature, numbers, Pull(*pull), call)
            return frame, *states

        import torch

        try:
            from torch.fx.experimental.proxy_tensor import make_fx
        except ImportError:  # torch promises no name in `experimental`; the layers themselves take ten times as long
            return graph
        # The arguments are copied, because `make_fx` knows tensors by identity. The mean of a leash begins as the mean
        # of the seed, and two arguments that are one tensor would be one argument in all steps.
        example = [torch.clone(tensor) for tensor in _flat(weights, frame, states, orders, 0)]
        # `graph` is a function of its own, because `make_fx` would count `self` among the arguments of a method.
        recorded = make_fx(graph)(*example)
        # `forward` is called, because the call of a module is among the names that torch changes while it records.
        return _compiled_by_torch(recorded, *example) if self._torch_compile else recorded.forward


def _flat(weights: Weights, frame: Tensor, states: list[Tensor], orders: Orders, index: int) -> list[Tensor]:
    """Returns the arguments of step number `index`, tensors in a row."""
    noise, temperature, given, pull = orders.at(index)
    return [*chain(*weights), frame, *states, noise, temperature, *given.values(), *pull]


def _with_states(carried: Carried, other: Carried, chosen: np.ndarray) -> Carried:
    """Returns the frame and states to carry, with those states of another moment for the chosen clips (B,)."""

    def mixed(one: Tensor, two: Tensor) -> Tensor:
        rows = chosen.reshape(-1, *[1] * (len(one.shape) - 1))
        # The host chooses: on JAX an operation outside of the program would be compiled.
        both = map(keras.ops.convert_to_numpy, (two, one))
        return keras.ops.convert_to_tensor(np.where(rows, *both))

    return Carried(carried.frame, [mixed(*pair) for pair in zip(carried.states, other.states, strict=True)])


def _compiled_by_torch(step: Recorded, *example: object) -> Recorded:
    """Returns `step` compiled by `torch.compile`, which has run on `example`; or `step` as it is, with a warning."""
    import torch

    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    why = f"there is no C++ compiler {compiler!r} (the variable CXX names another)"
    if shutil.which(compiler.split()[0]):
        compiled = torch.compile(step, dynamic=False)
        try:
            compiled(*example)
        except RuntimeError as error:  # torch raises this for any failure of its compiler
            why = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        else:
            return compiled
    warnings.warn(f"The step of generation is not compiled, and slower for it: {why}.", RuntimeWarning, stacklevel=2)
    return step


def make_loop(step: Step, batch_size: int, chunk: int | None = None, torch_compile: bool = False) -> Loop:
    """Returns the loop of the backend that Keras runs on. `torch_compile` is for torch alone."""
    loops = {"tensorflow": _TensorFlowLoop, "jax": _JaxLoop, "torch": _TorchLoop}
    backend = keras.backend.backend()
    if backend not in loops:
        raise RuntimeError(
            f"Generation runs on {', '.join(loops)}. Received: the Keras backend {backend!r}. "
            "Set KERAS_BACKEND before Keras is imported."
        )
    options = {"torch_compile": torch_compile} if backend == "torch" else {}
    return loops[backend](step, batch_size, chunk, **options)
