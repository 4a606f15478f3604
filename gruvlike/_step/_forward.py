"""A stack over whole sequences, compiled, and whether its predictions depend on the past alone."""

from collections.abc import Callable

import keras
import numpy as np

from gruvlike._contracts import Tensor
from gruvlike._step._stateless import carries

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


def check_causal(stack: keras.Model, forward: Forward, width: int) -> None:
    """Raises if the prediction of `stack` at a step depends on later frames; layers known not to are not tried."""
    if carries(stack):
        return
    frames = np.random.default_rng(0).standard_normal((1, 8, width)).astype("float32")
    changed = np.concatenate([frames[:, :4], -frames[:, 4:]], axis=1)
    before, after = (keras.ops.convert_to_numpy(forward(x))[:, :4] for x in (frames, changed))
    if not np.allclose(before, after, rtol=1e-3, atol=1e-5):
        raise ValueError(
            "A stack that generates must read only the past. Received: a stack whose predictions change with later "
            'frames. Use causal layers (`padding="causal"` in Conv1D, `use_causal_mask=True` in attention).'
        )
