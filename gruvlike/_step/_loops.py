"""The loop that feeds a network its own output, compiled once per (network, clips) and run in chunks of any length.

One run takes a buffer of `chunk` frames: the first `forced` of its `steps` steps read the buffer (the seed: warm-up),
the others read the step before, each clip by a count of its own. How many of each is data, not shape: neither a longer
song nor seeds of other lengths compile anything.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from gruvlike._step._stateless import StatelessStack

_CHUNK_BYTES = 8 * 2**20  # of output frames: what bounds memory, and how often the host is asked


class Loop:
    """A compiled function from (frames to read, what is carried) to (frames predicted, what is carried).

    Args:
        twin: The stack, one frame at a time.
        batch_size: Number of clips.
        features: Numbers in a frame.

    Attributes:
        chunk: The most steps that one run can take.
    """

    def __init__(self, twin: StatelessStack, batch_size: int, features: int):
        self.twin = twin
        self.chunk = int(np.clip(_CHUNK_BYTES // (4 * batch_size * features), 8, 256))
        self._shape = (self.chunk, batch_size, features)
        self._nothing = keras.ops.zeros(self._shape, "float32")  # what is read beyond the seed: it stays on the device

    def initial(self) -> tuple[Any, list]:
        """Returns what is carried before the first frame: a frame of zeros, and the initial states."""
        return keras.ops.zeros(self._shape[1:], "float32"), self.twin.initial_states(self._shape[1])

    def run(self, frames: list[np.ndarray], steps: int, carried: tuple[Any, list]) -> tuple[np.ndarray, tuple]:
        """Takes `steps` steps, of which the first of each clip read its `frames` (T, F), the others the step before.

        Returns:
            Predictions (B, steps, F), and what to carry into the next run.
        """
        forced = np.array([len(one) for one in frames], np.int32)
        outputs, last, states = self._compiled(self._buffer(frames), forced, steps, *carried)
        # Cut on the host: on JAX a slice of the tensor would compile anew for each number of steps.
        return keras.ops.convert_to_numpy(outputs)[:steps].swapaxes(0, 1), (last, states)

    def _buffer(self, frames: list[np.ndarray]) -> Any:
        if not any(map(len, frames)):
            return self._nothing
        buffer = np.zeros(self._shape, np.float32)
        for clip, one in enumerate(frames):
            buffer[: len(one), clip] = one
        return keras.ops.convert_to_tensor(buffer)

    def _compiled(self, buffer: Any, forced: np.ndarray, steps: int, last: Any, states: list) -> tuple[Any, Any, list]:
        raise NotImplementedError


class _TensorFlowLoop(Loop):
    def __init__(self, *args: Any):
        super().__init__(*args)
        import tensorflow as tf

        self._tf = tf
        self._function = tf.function(self._graph, jit_compile=True, autograph=False)

    def _compiled(self, buffer, forced, steps, last, states):
        return self._function(buffer, self._tf.constant(forced), self._tf.constant(steps), last, states)

    def _graph(self, buffer, forced, steps, last, states):
        tf = self._tf

        def body(index, outputs, last, states):
            frame = tf.where((index < forced)[:, None], buffer[index], last)
            output, states = self.twin.step(self.twin.model, frame[:, None, :], states)
            output = tf.cast(output[:, 0, :], tf.float32)
            return index + 1, outputs.write(index, output), output, states

        outputs = tf.TensorArray(tf.float32, size=self.chunk, element_shape=self._shape[1:])
        start = (tf.constant(0), outputs, last, states)
        _, outputs, last, states = tf.while_loop(lambda index, *_: index < steps, body, start)
        return outputs.stack(), last, states


class _JaxLoop(Loop):
    def __init__(self, *args: Any):
        super().__init__(*args)
        import jax

        self._jax = jax
        self._function = jax.jit(self._graph)

    def _compiled(self, buffer, forced, steps, last, states):
        model = self.twin.model
        # Weights are arguments: as captured constants they would be copied into the program, and stale after more
        # training.
        weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        return self._function(weights, buffer, forced, steps, last, states)

    def _graph(self, weights, buffer, forced, steps, last, states):
        jax, numpy = self._jax, self._jax.numpy

        def call(frame):
            return self.twin.model.stateless_call(*weights, frame, training=False)[0]

        def body(carry):
            index, outputs, last, states = carry
            frame = numpy.where((index < forced)[:, None], buffer[index], last)
            output, states = self.twin.step(call, frame[:, None, :], states)
            output = output[:, 0, :].astype("float32")
            return index + 1, jax.lax.dynamic_update_index_in_dim(outputs, output, index, 0), output, states

        start = (0, numpy.zeros(self._shape, "float32"), last, states)
        _, outputs, last, states = jax.lax.while_loop(lambda carry: carry[0] < steps, body, start)
        return outputs, last, states


class _TorchLoop(Loop):
    """The step is recorded once, as the operations of torch that it runs, and those are run in a plain loop.

    Without the Python of the layers around them they take a tenth of the time, and need no C++ compiler.
    """

    def __init__(self, *args: Any, torch_compile: bool = False):
        super().__init__(*args)
        self._torch_compile = torch_compile
        self._step: Any = None

    def _compiled(self, buffer, forced, steps, last, states):
        import torch
        from torch.fx.experimental.proxy_tensor import make_fx

        model = self.twin.model
        weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        outputs, all_read, some_read = [], forced.min(), forced.max()
        with torch.no_grad():
            reads = torch.as_tensor(forced, device=buffer.device)[:, None]
            if self._step is None:
                # A function of its own: `make_fx` would count `self` among the arguments of a method.
                self._step = make_fx(lambda weights, frame, states: self._graph(weights, frame, states))(
                    weights, last, states
                )
                if self._torch_compile:
                    self._step = _compiled_by_torch(self._step, weights, last, states)
            for index in range(steps):
                frame = last
                if index < some_read:
                    frame = buffer[index] if index < all_read else torch.where(index < reads, buffer[index], last)
                last, states = self._step(weights, frame, states)
                outputs.append(last)
            return torch.stack(outputs), last, states

    def _graph(self, weights, frame, states):
        def call(frame):
            return self.twin.model.stateless_call(*weights, frame, training=False)[0]

        output, states = self.twin.step(call, frame[:, None, :], states)
        return output[:, 0, :].float(), states


def _compiled_by_torch(step: Callable[..., Any], *example: Any) -> Callable[..., Any]:
    """Returns `step` compiled by `torch.compile`, which has run on `example`; or `step` as it is, with a warning."""
    import torch

    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    why = f"there is no C++ compiler {compiler!r} (the variable CXX names another)"
    if shutil.which(compiler.split()[0]):
        compiled = torch.compile(step, dynamic=False)
        try:
            compiled(*example)
        except RuntimeError as error:  # what torch raises for all that goes wrong on the way
            why = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        else:
            return compiled
    warnings.warn(f"The step of generation is not compiled, and slower for it: {why}.", RuntimeWarning, stacklevel=2)
    return step


def make_loop(twin: StatelessStack, batch_size: int, features: int, torch_compile: bool = False) -> Loop:
    """Returns the loop of the backend that Keras runs on. `torch_compile` is for torch alone."""
    loops = {"tensorflow": _TensorFlowLoop, "jax": _JaxLoop, "torch": _TorchLoop}
    backend = keras.backend.backend()
    if backend not in loops:
        raise RuntimeError(
            f"Generation runs on {', '.join(loops)}. Received: the Keras backend {backend!r}. "
            "Set KERAS_BACKEND before Keras is imported."
        )
    options = {"torch_compile": torch_compile} if backend == "torch" else {}
    return loops[backend](twin, batch_size, features, **options)


def make_forward(stack: keras.Model, features: int) -> Callable[[np.ndarray], Any]:
    """Returns a compiled `stack(frames)`, (B, T, F) -> (B, T, F), without dropout."""
    if not stack.built:  # a subclassed model that has not been called yet
        stack(keras.ops.zeros((1, 1, features)))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda frames: stack(frames, training=False), autograph=False)
    if backend == "jax":
        import jax

        # No `training` argument: the `call` of a subclassed model need not take one.
        compiled = jax.jit(lambda *weights_and_frames: stack.stateless_call(*weights_and_frames)[0])
        return lambda frames: compiled(
            [v.value for v in stack.trainable_variables], [v.value for v in stack.non_trainable_variables], frames
        )
    import torch

    return torch.no_grad()(lambda frames: stack(keras.ops.convert_to_tensor(frames), training=False))
