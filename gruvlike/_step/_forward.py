"""A stack over whole sequences, compiled, and whether its predictions depend on the past alone."""

from collections.abc import Callable, Mapping

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._backend import no_gradient
from gruvlike._contracts import Tensor
from gruvlike._step._stateless import carries, inputs_of, refuse_future

_TRIED = (64, 8)  # frames: a stack that looks further ahead is not noticed; one may not be able to read so many
Forward = Callable[[np.ndarray], Tensor]


def make_forward(stack: keras.Model, width: int) -> Forward:
    """Returns a compiled `stack(frames)`, (B, T, W) -> (B, T, O), without dropout."""
    if not stack.built:  # a subclassed model is not built before its first call
        stack(keras.ops.zeros((1, 1, width)))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda frames: stack(frames, training=False), autograph=False)
    if backend == "jax":
        import jax

        # The call has no `training` argument, because the `call` of a subclassed model need not take one.
        compiled = jax.jit(lambda *weights_and_frames: stack.stateless_call(*weights_and_frames)[0])
        return lambda frames: compiled(
            [v.value for v in stack.trainable_variables], [v.value for v in stack.non_trainable_variables], frames
        )
    import torch

    return torch.no_grad()(lambda frames: stack(keras.ops.convert_to_tensor(frames), training=False))


def check_causal(stack: keras.Model, forward: Forward, width: int, outputs: int) -> None:
    """Raises if the prediction of `stack` at a step depends on later frames; layers known not to are not tried.

    Args:
        stack: The stack, built.
        forward: The stack as a function of frames, as `make_forward` or `plain` gives it.
        width: Numbers in a frame that it reads, W.
        outputs: Numbers that it must give for a frame, O.

    Raises:
        ValueError: If it reads the future, gives outputs of another shape, or cannot read frames at all.
    """
    if carries(stack):
        return
    refuse_future(stack)
    frames, predicted = _tried(stack, forward, width)
    steps = frames.shape[1]
    if predicted.shape != (1, steps, outputs):
        raise ValueError(
            f"One frame in must give one frame out: (B, T, {width}) to (B, T, {outputs}). "
            f"Received: a stack that gives {predicted.shape} for {frames.shape}. Leave out layers that change the "
            'number of steps (`padding="valid"`, pooling, `return_sequences=False`).'
        )
    half = steps // 2
    changed = np.concatenate([frames[:, :half], -frames[:, half:]], axis=1)
    again, after = (_numpy(forward(one))[:, :half] for one in (frames, changed))
    before = predicted[:, :half]
    is_random = not np.allclose(before, again, rtol=1e-4, atol=1e-6)  # a stack that draws says nothing about its past
    if not is_random and not np.allclose(before, after, rtol=1e-3, atol=1e-5):
        raise ValueError(
            "A stack that generates must read only the past. Received: a stack whose predictions change with later "
            'frames. Use causal layers (`padding="causal"` in Conv1D, `use_causal_mask=True` in attention).'
        )


def _tried(stack: keras.Model, run: Forward, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns frames (1, T, W) that the stack could read, and its outputs."""
    for steps in _TRIED:
        frames = np.random.default_rng(0).standard_normal((1, steps, width)).astype("float32")
        try:
            return frames, _numpy(run(frames))
        except Exception as error:  # a network of the user's own can raise anything
            failed = error
    raise ValueError(
        f"The stack must read any number of frames, (B, T, {width}). Received: {stack.name!r} "
        f"({type(stack).__name__}), which failed at (1, {_TRIED[-1]}, {width}): {_checks.words_of(failed)}"
    ) from failed


def plain(stack: keras.Model, others: Mapping[str, int]) -> Forward:
    """Returns the stack as a function of frames (B, T, W), not compiled.

    Its other inputs, of so many numbers a frame by their names, get numbers that do not change.
    """

    def run(frames: np.ndarray) -> Tensor:
        given = {name: keras.ops.full((*frames.shape[:2], numbers), 0.5) for name, numbers in others.items()}
        with no_gradient():
            return stack(inputs_of(stack, keras.ops.convert_to_tensor(frames), given), training=False)

    return run


def _numpy(outputs: Tensor) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")))
