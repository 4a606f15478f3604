"""The loss of a model that continues its own output: the one that matters for a song."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from gruvlike import _checks, _music
from gruvlike._backend import no_gradient
from gruvlike._step._stateless import StatelessStack, carries
from gruvlike._step._step import Step


class FreeRun(NamedTuple):
    """The quality of a model that continues its own output, at one horizon, from `free_running_loss`.

    Attributes:
        loss: Mean squared error against the music, over that of predicting the mean.
        energy: Energy of its predictions (around the mean) over that of the music; near 0 = it has fallen silent.
    """

    loss: float
    energy: float


def free_running_loss(model: Any, windows: Any, horizons: Sequence[int] = (1, 2, 5, 10, 40)) -> dict[int, FreeRun]:
    """Measures how a model goes on by itself from held-out music: the loss that matters for a song.

    Each window is cut in two: its last `max(horizons)` frames are predicted, from the model's own predictions only,
    after it has read those before. At horizon 1 this is the loss of teacher forcing; above 1.0, silence would score
    better.

    Args:
        model: An `AudioModel`.
        windows: Held-out windows of more steps than the longest horizon, for instance
            `validation.windows(encoder, steps=80, shuffle=False, offset=0)`; or an array of PCM (B, span(T + 1)).
        horizons: How many frames after the music.

    Returns:
        `{horizon: FreeRun(loss, energy)}`.

    Raises:
        ValueError: If a horizon is not a positive integer, or the windows are too short.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
        >>> found = free_running_loss(model, music[None, :88], horizons=(1, 5))
        >>> found[5].loss > 0, found[5].energy > 0
        (True, True)
    """
    horizons = [_checks.positive_int("horizons", horizon) for horizon in horizons]
    longest = max(horizons)
    center = ops.convert_to_numpy(model.normalizer.center)
    sums = np.zeros((3, longest))
    for frames in _music.frames(windows, model.encoder, model.normalizer):
        start = frames.shape[1] - longest
        if start < 1:
            raise ValueError(
                f"The windows must be longer than the longest horizon, so that there is music to go on from. Received: "
                f"horizon {longest}, windows of {frames.shape[1] - 1} steps. Use windows of {2 * longest} steps."
            )
        guess, truth = _continued(model, frames[:, :start], longest), frames[:, start:]
        for row, parts in zip(sums, ((guess, truth), (truth, center), (guess, center)), strict=True):
            row += np.square(parts[0] - parts[1]).sum(axis=(0, 2), dtype="float64")
    error, truth, energy = sums[:, np.array(horizons) - 1]
    return {h: FreeRun(float(e / t), float(g / t)) for h, e, t, g in zip(horizons, error, truth, energy, strict=True)}


def _continued(model: Any, frames: np.ndarray, steps: int) -> np.ndarray:
    """Returns the `steps` frames that follow `frames` (B, T, W) when the model continues its own expected frames."""
    stack, head = model.stack, model.head
    with no_gradient():
        past = ops.convert_to_tensor(frames)
        if not carries(stack):  # reads the whole past again at each step
            for _ in range(steps):
                frame = head.next_frame(stack(past, training=False)[:, -1:])
                past = ops.concatenate([past, frame], axis=1)
            return ops.convert_to_numpy(past)[:, -steps:]
        step = Step(StatelessStack(stack), head, frames.shape[-1])
        outputs, states = step.read(past, step.stack.initial_states(len(frames)))
        frame = head.next_frame(outputs[:, -1])
        found = [frame]
        for _ in range(steps - 1):
            frame, states = step(frame, states)
            found.append(frame)
        return ops.convert_to_numpy(ops.stack(found, axis=1))
