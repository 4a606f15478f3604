"""Covariance and quantiles of frames that arrive in pieces, in constant memory."""

import numpy as np
import scipy.linalg

from gruvlike._music import rows

_MOST_FRAMES = 2**14  # a sample keeps so many, or fewer if they are wide: 2**25 numbers are 128 MB
_MOST_NUMBERS = 2**25
_COLUMNS_AT_ONCE = 64
_ROWS_AT_ONCE = 1024  # frames of a product in float32: more of them would lose digits


class Moments:
    """The number, mean and covariance of frames that arrive in pieces.

    Products are taken around the mean of each piece, so that features with a large mean lose no digits: in float32,
    which is twice as fast, and added up in float64. The error of a variance along any direction is about 1e-7 of the
    largest one.

    Args:
        features: F, numbers in a frame.

    Attributes:
        frames: How many frames there were.
        mean: Their mean (F,).

    References:
        Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """

    def __init__(self, features: int):
        self.frames = 0
        self.mean = np.zeros(features)
        self._products = np.zeros((features, features))  # these are products of deviations

    def add(self, frames: np.ndarray) -> None:
        """Adds frames (n, F), or raises if they are not finite."""
        for part in rows(frames, _ROWS_AT_ONCE):
            self._add(part)

    def _add(self, frames: np.ndarray) -> None:
        size = len(frames)
        count = self.frames + size
        with np.errstate(invalid="ignore"):
            mean = frames.mean(axis=0, dtype="float64")
        if not np.isfinite(mean).all():
            raise ValueError(
                f"Frames must be finite. Received: NaN or infinite numbers in {int((~np.isfinite(mean)).sum())} of "
                f"{len(mean)} features. Correct the encoder."
            )
        shift = mean - self.mean
        terms = np.empty((size + 1, len(mean)), "float32")
        np.subtract(frames, mean.astype("float32"), out=terms[:-1])
        # The product of the last row is the part of the covariance that lies between the piece and those before it.
        terms[-1] = shift * np.sqrt(self.frames * size / count)
        self._products += terms.T @ terms
        self.mean += shift * (size / count)
        self.frames = count

    @property
    def variance(self) -> np.ndarray:
        """The variance of each feature (F,)."""
        return np.diagonal(self._products) / self.frames

    def principal(self, std: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the strongest directions of the standardized features. The covariance is used up.

        Args:
            std: The deviation of each feature (F,), 0 for a feature to leave out.
            components: W, number of directions.

        Returns:
            The variance along each direction (W,), falling, and the directions (F, W). Of the numbers of a direction,
            the first of those that are the largest is positive, so that two fits agree.
        """
        factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
        matrix, last = self._products, len(std) - 1
        matrix *= (factor / self.frames)[:, None]
        matrix *= factor
        variances, directions = scipy.linalg.eigh(
            matrix.T, lower=True, overwrite_a=True, check_finite=False, subset_by_index=(last + 1 - components, last)
        )
        variances, directions = variances[::-1], directions[:, ::-1]
        sizes = np.abs(directions)
        # Features can be mirror images of each other: rounding must not decide which of equal numbers is the largest.
        largest = np.argmax(sizes > 0.999 * sizes.max(axis=0), axis=0)
        signs = np.sign(directions[largest, np.arange(components)])
        return np.maximum(variances, 0.0), directions * signs


class EvenSample:
    """Frames that are evenly chosen from a stream of unknown length: all, or every second, or every fourth, ...

    Args:
        features: F, numbers in a frame.
        most: The most frames to keep, an even number. When there are more, every second one is dropped.
    """

    def __init__(self, features: int, most: int | None = None):
        self._most = max(2, min(_MOST_FRAMES, _MOST_NUMBERS // features // 2 * 2)) if most is None else most
        self._kept = np.empty((self._most, features), "float32")
        self._count, self._step = 0, 1
        self._ahead = 0  # frames to come before the next one that is kept

    @property
    def frames(self) -> np.ndarray:
        """The frames that are kept (n, F)."""
        return self._kept[: self._count]

    def add(self, frames: np.ndarray) -> None:
        """Adds those of the frames (n, F) whose turn it is."""
        while self._ahead < len(frames):
            if self._count == self._most:
                self._count //= 2
                self._kept[: self._count] = self._kept[::2]
                self._step *= 2
            chosen = frames[self._ahead :: self._step][: self._most - self._count]
            self._kept[self._count : self._count + len(chosen)] = chosen
            self._count += len(chosen)
            self._ahead += len(chosen) * self._step
        self._ahead -= len(frames)


def quantiles(numbers: np.ndarray, share: float) -> np.ndarray:
    """Returns a low and a high bound of each column.

    Args:
        numbers: Numbers (n, N), float32.
        share: Share of the numbers that may lie below the low bound, and above the high one.

    Returns:
        Numbers of the columns themselves, (2, N): the quantile `share`, rounded down, and 1 - `share`, rounded up. So
        they are the least and the greatest number where there are fewer than 1 / share.
    """
    last = len(numbers) - 1
    ranks = (int(share * last), last - int(share * last))
    bounds = np.empty((2, numbers.shape[1]), "float32")
    for start in range(0, numbers.shape[1], _COLUMNS_AT_ONCE):
        block = slice(start, start + _COLUMNS_AT_ONCE)
        columns = numbers[:, block].T.copy()
        columns.partition(ranks, axis=1)
        bounds[:, block] = columns[:, ranks].T
    return bounds
