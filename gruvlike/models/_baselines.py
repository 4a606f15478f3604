"""Predictors that have learned little or nothing: the losses that a model must beat."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from gruvlike import _music
from gruvlike.models._checking import check_batches

_DIRECTIONS = 256  # the linear predictor reads at most so many
_FRAMES_A_DIRECTION = 10  # each direction has at least so many frames, so that the predictor cannot learn them by heart
_FITTED_FRAMES = 20_000


class LinearPredictor:
    """The next frame as a linear function of the last one, by least squares.

    The function reads the principal directions of the frames only: a matrix of F x F would be 2 GB for frames of 22050
    numbers, and would learn a small corpus by heart. The directions are found by a random sketch of the covariance,
    so that nothing larger than F x 256 is kept: two passes over at most 20 000 frames, evenly chosen.

    Args:
        model: An `AudioModel`: frames are normalized as it does.
        windows: The music that it is fitted to.

    References:
        Halko, Martinsson and Tropp, "Finding Structure with Randomness", 2011 (the sketch).
    """

    def __init__(self, model: Any, windows: Any):
        self.center = ops.convert_to_numpy(model.normalizer.center)
        features = model.width
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
        for frames in _music.frames(windows, model.encoder, model.normalizer, limit=_FITTED_FRAMES):
            yield frames - self.center

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Returns the predicted successor of each of the frames (..., F)."""
        return self.center + ((frames - self.center) @ self.basis) @ self.matrix


def baselines(model: Any, windows: Any, training: Any) -> dict[str, float]:
    """Returns the relative losses of predictors; see `AudioModel.baselines`."""
    for name, part in (("windows", windows), ("training", windows if training is None else training)):
        check_batches(name, part)
    linear = LinearPredictor(model, windows if training is None else training)
    errors = np.zeros(3)
    for frames in _music.frames(windows, model.encoder, model.normalizer):
        last, target = frames[:, :-1], frames[:, 1:]
        errors += [np.square(target - guess).sum(dtype="float64") for guess in (linear.center, last, linear(last))]
    return {"mean": 1.0, "repeat": float(errors[1] / errors[0]), "linear": float(errors[2] / errors[0])}
