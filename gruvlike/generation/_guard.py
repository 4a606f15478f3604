"""Songs that freeze, fall silent or blow up are noticed as they are made, by change and size of their frames."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gruvlike.conditions import Meter
from gruvlike.generation._bars import bar_pattern

# Change and size of a song are compared with those of the seed times these numbers. Music has breaks and louder parts;
# these limits are far beyond.
_FROZEN = 0.1
_FAINT = 0.1
_BLOWN_UP = 4.0


class Usual(NamedTuple):
    """The usual frames of the seeds, which their songs are compared with.

    Attributes:
        mean: Mean of each number, (B, W).
        deviation: Deviation of each number, (B, W).
        flux: Mean change from frame to frame, of all numbers, (B,).
        size: Root mean square of all numbers, (B,).
        pattern: The pattern of the bar, (B, 32, W); (B, 0, W) where the network reads no beat.
    """

    mean: np.ndarray
    deviation: np.ndarray
    flux: np.ndarray
    size: np.ndarray
    pattern: np.ndarray

    @classmethod
    def of(cls, seeds: list[np.ndarray], meters: Sequence[Meter] = ()) -> "Usual":
        """Returns the usual frames of seeds, (T, W) each, the last of which has the number -1 for their meters.

        Example:
            >>> Usual.of([np.array([[1.0, 1.0], [3.0, 1.0]])]).flux
            array([1.])
        """
        means, deviations = (np.stack([measure(frames, axis=0) for frames in seeds]) for measure in (np.mean, np.std))
        patterns = [bar_pattern(frames, meter, -len(frames)) for frames, meter in zip(seeds, meters, strict=False)]
        pattern = np.stack(patterns) if patterns else np.zeros((len(seeds), 0, means.shape[-1]))
        return cls(means, deviations, np.array(list(map(flux, seeds))), np.array(list(map(size, seeds))), pattern)

    @classmethod
    def mix(cls, usuals: "Sequence[Usual]", weights: Sequence[float]) -> "Usual":
        """Returns the weighted mean of several.

        Example:
            >>> quiet, loud = (Usual.of([np.full((2, 4), level)]) for level in (1.0, 3.0))
            >>> Usual.mix([quiet, loud], [0.5, 0.5]).size
            array([2.])
        """
        return cls(*(weighted(parts, weights) for parts in zip(*usuals, strict=True)))

    def repeat(self, clips: int) -> "Usual":
        """Returns those of `clips` clips that have one seed.

        Example:
            >>> Usual.of([np.zeros((2, 4))]).repeat(3).flux.shape
            (3,)
        """
        return Usual(*(np.repeat(one, clips, axis=0) for one in self))


def weighted(parts: Sequence[Any], weights: Sequence[float]) -> Any:
    """Returns the weighted sum of arrays, or of tensors; those of weight 0 leave no trace, not even in rounding."""
    pairs = [(weight, part) for weight, part in zip(weights, parts, strict=True) if weight]
    if len(pairs) == 1 and pairs[0][0] == 1:
        return pairs[0][1]
    return sum((weight * part for weight, part in pairs[1:]), pairs[0][0] * pairs[0][1])


def flux(frames: np.ndarray) -> float:
    """Returns the mean change from frame to frame, of all numbers of frames (T, W)."""
    return float(np.abs(np.diff(frames, axis=0)).mean()) if len(frames) > 1 else 0.0


def size(frames: np.ndarray) -> float:
    """Returns the root mean square of frames (T, W)."""
    return float(np.sqrt(np.mean(np.square(frames, dtype="float64"))))


def fault(frames: np.ndarray, usual_flux: float, usual_size: float) -> str | None:
    """Returns the word for a fault of the frames (T, W) of a song, or `None`.

    Example:
        >>> fault(np.ones((100, 4)), usual_flux=1.0, usual_size=1.0)
        'frozen'
    """
    if not np.isfinite(frames).all() or size(frames) > _BLOWN_UP * usual_size:
        return "blown up"
    if size(frames) < _FAINT * usual_size:
        return "fallen silent"
    return "frozen" if flux(frames) < _FROZEN * usual_flux else None
