"""What a loss is worth: predictors that have learned little, and the loss of a model that hears only itself."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._twin import Twin, check_carries

_DIRECTIONS = 256  # of the linear predictor, at most
_FRAMES_A_DIRECTION = 10  # at least, so that it cannot learn them by heart
_FITTED_FRAMES = 20_000


class FreeRun(NamedTuple):
    """How a model that hears itself does at one horizon.

    Attributes:
        loss: Mean squared error against the music, over that of predicting the mean.
        energy: Energy of what it predicts (around the mean) over that of the music; near 0 = it has fallen silent.
    """

    loss: float
    energy: float


class LinearPredictor:
    """The next frame as a linear function of the last one, by least squares.

    The function reads the principal directions of the frames only: a matrix of F x F would be 2 GB for frames of 22050
    numbers, and would learn a small corpus by heart. The directions are found by a random sketch of the covariance,
    so that nothing larger than F x 256 is kept: two passes over at most 20 000 frames, evenly chosen.

    Args:
        model: An `AudioModel`: frames are normalized as it does.
        windows: What to fit it to.

    References:
        Halko, Martinsson and Tropp, "Finding Structure with Randomness", 2011 (the sketch).
    """

    def __init__(self, model: Any, windows: Any):
        self.center = ops.convert_to_numpy(model.normalizer.center)
        features = model.encoder.features
        sketch = np.random.default_rng(0).standard_normal((features, min(_DIRECTIONS, features))).astype("float32")
        covered = np.zeros_like(sketch)
        for frames in self._frames(model, windows):
            flat = frames.reshape(-1, features)
            covered += flat.T @ (flat @ sketch)
        self.basis, _ = np.linalg.qr(covered)
        count, within = 0, 0.0
        across = np.zeros_like(covered.T)
        for frames in self._frames(model, windows):
            now, after = (part.reshape(-1, features) for part in (frames[:, :-1], frames[:, 1:]))
            now = now @ self.basis
            within = within + (now.T @ now).astype("float64")
            across += now.T @ after
            count += len(now)
        strength, directions = np.linalg.eigh(within)
        kept = np.arange(len(strength))[-max(1, count // _FRAMES_A_DIRECTION) :]
        kept = kept[strength[kept] > 1e-6 * strength[-1]]
        inverse = (directions[:, kept] / strength[kept]) @ directions[:, kept].T
        self.matrix = inverse.astype("float32") @ across

    def _frames(self, model: Any, windows: Any) -> Iterator[np.ndarray]:
        for frames in frames_of(model, windows, limit=_FITTED_FRAMES):
            yield frames - self.center

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Returns what follows each of the frames (..., F)."""
        return self.center + ((frames - self.center) @ self.basis) @ self.matrix


def frames_of(model: Any, windows: Any, limit: int | None = None) -> Iterator[np.ndarray]:
    """Yields the normalized frames (B, T, F) of each batch, or of some, evenly chosen: about `limit` frames."""
    if isinstance(windows, np.ndarray):
        windows = [(windows[start : start + 32],) for start in range(0, len(windows), 32)]
    index, step = 0.0, 1.0
    while index < len(windows):
        batch = windows[int(index)][0]
        pcm = batch["pcm"] if isinstance(batch, dict) else batch
        frames = ops.convert_to_numpy(model.normalizer(model.encoder.encode(pcm, padded=False)))
        yield frames
        if limit:
            step = max(1.0, len(windows) * frames.shape[0] * frames.shape[1] / limit)
        index += step


def baselines(model: Any, windows: Any, training: Any) -> dict[str, float]:
    """Returns the relative losses of predictors; see `AudioModel.baselines`."""
    linear = LinearPredictor(model, windows if training is None else training)
    errors = np.zeros(3)
    for frames in frames_of(model, windows):
        last, target = frames[:, :-1], frames[:, 1:]
        errors += [np.square(target - guess).sum(dtype="float64") for guess in (linear.center, last, linear(last))]
    return {"mean": 1.0, "repeat": float(errors[1] / errors[0]), "linear": float(errors[2] / errors[0])}


def free_running_loss(model: Any, windows: Any, horizons: Sequence[int] = (1, 2, 5, 10, 40)) -> dict[int, FreeRun]:
    """Measures how a model goes on by itself from held-out music: the loss that matters for a song.

    Each window is cut in two: its last `max(horizons)` frames are predicted, from the model's own predictions only,
    after it has heard those before. At horizon 1 this is the loss of teacher forcing; above 1.0 silence were better.

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
    for frames in frames_of(model, windows):
        start = frames.shape[1] - longest
        if start < 1:
            raise ValueError(
                f"The windows must be longer than the longest horizon, so that there is music to go on from. Received: "
                f"horizon {longest}, windows of {frames.shape[1] - 1} steps. Use windows of {2 * longest} steps."
            )
        guess, truth = _continued(model.stack, frames[:, :start], longest), frames[:, start:]
        for row, parts in zip(sums, ((guess, truth), (truth, center), (guess, center)), strict=True):
            row += np.square(parts[0] - parts[1]).sum(axis=(0, 2), dtype="float64")
    error, truth, energy = sums[:, np.array(horizons) - 1]
    return {h: FreeRun(float(e / t), float(g / t)) for h, e, t, g in zip(horizons, error, truth, energy, strict=True)}


def _continued(stack: keras.Model, frames: np.ndarray, steps: int) -> np.ndarray:
    """Returns the `steps` frames that follow `frames` (B, T, F) when the stack hears itself."""
    with _no_gradient():
        heard = ops.convert_to_tensor(frames)
        if not carries(stack):  # hears all again at each step
            for _ in range(steps):
                heard = ops.concatenate([heard, stack(heard, training=False)[:, -1:]], axis=1)
            return ops.convert_to_numpy(heard)[:, -steps:]
        twin = Twin(stack)
        found, states = [], twin.initial_states(frames.shape[0])
        for _ in range(steps):
            prediction, states = twin.step(lambda x: twin.model(x, training=False), heard, states)
            heard = prediction[:, -1:]
            found.append(heard)
        return ops.convert_to_numpy(ops.concatenate(found, axis=1))


def carries(stack: keras.Model) -> bool:
    """Whether the state of `stack` can be carried from frame to frame."""
    try:
        check_carries(stack)
    except ValueError:
        return False
    return True


def _no_gradient() -> Any:
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()
