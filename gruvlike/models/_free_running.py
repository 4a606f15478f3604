"""The loss of a model that continues its own output: the one that matters for a song."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from gruvlike import _checks, _music
from gruvlike._backend import no_gradient
from gruvlike._contracts import Tensor
from gruvlike._step._stateless import StatelessStack, carries, inputs_of
from gruvlike._step._step import Carried, Step, bounded
from gruvlike.conditions import conditions_of
from gruvlike.models._checking import check_batches
from gruvlike.models._conditioning import supplied


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
        ValueError: If there is no horizon, one is not a positive integer, or the windows are too short.
        TypeError: If the horizons are not several.

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
    horizons = _checks.horizons(horizons)
    longest = max(horizons)
    check_batches("windows", windows)
    windows = supplied(windows, conditions_of(model.stack), model.encoder)
    center = ops.convert_to_numpy(model.normalizer.center)
    sums = np.zeros((3, longest))
    for frames, given in _batches(model, windows):
        start = frames.shape[1] - longest
        if start < 1:
            raise ValueError(
                f"The windows must be longer than the longest horizon, so that there is music to go on from. Received: "
                f"horizon {longest}, windows of {frames.shape[1] - 1} steps. Use windows of {2 * longest} steps."
            )
        guess, truth = _continued(model, frames[:, :start], given, longest), frames[:, start:]
        for row, parts in zip(sums, ((guess, truth), (truth, center), (guess, center)), strict=True):
            row += np.square(parts[0] - parts[1]).sum(axis=(0, 2), dtype="float64")
    error, truth, energy = sums[:, np.array(horizons) - 1]
    return {h: FreeRun(float(e / t), float(g / t)) for h, e, t, g in zip(horizons, error, truth, energy, strict=True)}


def _batches(model: Any, windows: Any) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Yields the frames (B, T + 1, W) of each batch of windows, and the numbers of the other inputs, (B, T, n) each."""
    parts: Any = [(part,) for part in _music.rows(windows, 32)] if isinstance(windows, np.ndarray) else windows
    for index in range(len(parts)):
        reading, following = model.read(parts[index][0])
        frames = ops.concatenate([reading.frames, following[:, -1:]], axis=1)
        yield ops.convert_to_numpy(frames), reading.given


def _continued(model: Any, frames: np.ndarray, given: Mapping[str, Tensor], steps: int) -> np.ndarray:
    """Returns the `steps` frames that follow `frames` (B, T, W) when the model continues its own expected frames."""
    stack, head, start, bounds = model.stack, model.head, frames.shape[1], model.normalizer.bounds
    with no_gradient():
        past = ops.convert_to_tensor(frames)
        if not carries(stack):  # such a stack reads the whole past again at each step
            for _ in range(steps):
                until = {name: numbers[:, : past.shape[1]] for name, numbers in given.items()}
                outputs = stack(inputs_of(stack, past, until), training=False)[:, -1:]
                past = ops.concatenate([past, bounded(head.next_frame(outputs), bounds)], axis=1)
            return ops.convert_to_numpy(past)[:, -steps:]
        step = Step(StatelessStack(stack), head, frames.shape[-1], bounds)
        states = step.stack.initial_states(len(frames))
        outputs, states = step.read(past, states, {name: one[:, :start] for name, one in given.items()})
        found = [Carried(bounded(head.next_frame(outputs[:, -1]), bounds), states)]
        for place in range(start, start + steps - 1):
            found.append(step(found[-1], given={name: one[:, place] for name, one in given.items()}))
        return ops.convert_to_numpy(ops.stack([one.frame for one in found], axis=1))
