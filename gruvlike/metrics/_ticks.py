"""Ticks: jumps and clicks at the seams between blocks."""

import numpy as np
import scipy.stats

from gruvlike import _checks

# A third difference is a high-pass of +18 dB per octave with a response of four samples. A jump or click at a seam
# changes only four values, so its energy stays at the seam instead of ringing into the block.
_ORDER = 3
_BOX = 4
_GUARD, _REACH = 8, 64  # the surroundings of a sample are the samples at this least and largest distance
_TRIM = 0.1
_SMALLEST_HOP = 16
_BLOCKS = 4


def tick_ratio(samples: np.ndarray, hop: int, start: int = 0) -> float:
    """Median jump across the seams between blocks, divided by the median jump elsewhere.

    A jump is `|x[n] - x[n - 1]|`; seams are at n = start + k * hop. Music that was not made in blocks has a ratio of
    about 1.0. The fewer seams, the more it varies by chance (by about 0.2 for a hundred seams).

    Args:
        samples: The song, of shape (S,), at least four blocks long.
        hop: Samples from one seam to the next, at least 2.
        start: Index of a sample that begins a block. Samples before it are measured, too.

    Returns:
        A ratio in [0, 1e6]: 1.0 without ticks, and for silence. The gain does not matter.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than four blocks.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=40_000)
        >>> ticks = np.repeat(np.random.default_rng(1).normal(size=400), 100)
        >>> round(metrics.tick_ratio(noise, 100)), round(metrics.tick_ratio(noise + 3 * ticks, 100))
        (1, 3)
    """
    samples, hop, start = _checked(samples, hop, start, smallest_hop=2)
    jumps = np.abs(np.diff(samples.astype(np.float64)))
    seams = np.zeros(len(jumps), bool)
    seams[(start - 1) % hop :: hop] = True
    across, elsewhere = np.median(jumps[seams]), np.median(jumps[~seams])
    least = 1e-6 * jumps.max()  # `least` keeps the ratio finite if the sound only changes at the seams
    return float(max(across, least) / max(elsewhere, least)) if least > 0 else 1.0


def tick_profile(samples: np.ndarray, hop: int, start: int = 0) -> np.ndarray:
    """Level of the high-passed signal over that of its surroundings, at each position within a block.

    The energy of the third difference over four samples is compared, in dB, with that of the samples at a distance of 8
    to 64 before, and with that of as many samples after. Each of the two differences is averaged at the same position
    over all blocks; the highest and lowest tenth of the blocks is left out. This folds the envelope of the high-passed
    signal at the block rate: sounds that do not return in every block average out. A drum in time with the blocks is
    louder than the sound before it, but not louder than its own decay after it. So the result is the smaller of the two
    differences, or 0 if their signs differ. Because levels are compared in dB, ticks in quiet passages count as much as
    ticks in loud ones.

    Args:
        samples: The song, of shape (S,), at least four blocks long.
        hop: Samples from one seam to the next, at least 16.
        start: Index of a sample that begins a block.

    Returns:
        Float64 array of shape (hop,), in dB. Position 0 is the seam. Most positions are about 0.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than four blocks.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=40_000)
        >>> noise[7::100] += 10
        >>> int(metrics.tick_profile(noise, 100).argmax())
        7

    References:
        P. L. Roe (1986): the minmod limiter, the smaller of two slopes, or 0 if their signs differ.
    """
    samples, hop, start = _checked(samples, hop, start, smallest_hop=_SMALLEST_HOP)
    first, before, after = _contrasts(samples.astype(np.float64), hop)
    skip = (start - first) % hop
    blocks = (len(before) - skip) // hop
    sides = []
    for contrast in (before, after):
        folded = contrast[skip : skip + blocks * hop].reshape(blocks, hop)
        side = scipy.stats.trim_mean(folded, _TRIM, axis=0)
        sides.append(side - np.median(side))
    before, after = sides
    return np.where(before * after > 0, np.sign(before) * np.minimum(np.abs(before), np.abs(after)), 0.0)


def tick_level_db(samples: np.ndarray, hop: int, start: int = 0) -> float:
    """Level of the ticks at the seams: the first value of `tick_profile`.

    Args:
        samples: The song, of shape (S,), at least four blocks long.
        hop: Samples from one seam to the next, at least 16.
        start: Index of a sample that begins a block.

    Returns:
        Decibels, about -10 to 70: 0 without ticks, and for silence. The gain does not matter. By chance it varies by
        about 5 dB divided by the square root of the number of seams. A click track in time with the hop counts as
        ticks; `tick_excess_db` compares with the reference.

    Raises:
        ValueError: If the samples are not mono and finite, or shorter than four blocks.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=40_000)
        >>> ticks = np.repeat(np.random.default_rng(1).normal(size=400), 100)
        >>> [round(metrics.tick_level_db(noise + gain * ticks, 100)) for gain in (0, 3, 10)]
        [0, 3, 10]
    """
    return float(tick_profile(samples, hop, start)[0])


def tick_excess_db(song: np.ndarray, reference: np.ndarray, hop: int) -> float:
    """`tick_level_db` of the song minus that of the reference: a rhythm in time with the hop, which both have, cancels.

    Args:
        song: Samples of shape (S,), at least four blocks long.
        reference: The music that the song continues or imitates, at least four blocks long, at the same sample rate.
        hop: Samples from one seam to the next, at least 16.

    Returns:
        Decibels: 0 for a song that ticks as much as the reference.

    Raises:
        ValueError: If either is not mono and finite, or shorter than four blocks.

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=40_000)
        >>> metrics.tick_excess_db(noise, noise, 100)
        0.0
    """
    return tick_level_db(song, hop) - tick_level_db(reference, hop)


def _checked(samples: np.ndarray, hop: int, start: int, smallest_hop: int) -> tuple[np.ndarray, int, int]:
    samples = _checks.mono("samples", samples)
    hop = _checks.positive_int("hop", hop, minimum=smallest_hop)
    start = _checks.positive_int("start", start, minimum=0)
    if len(samples) < max(_BLOCKS * hop, 64):
        raise ValueError(
            f"Ticks are measured over at least {_BLOCKS} blocks and 64 samples: hop={hop} needs "
            f"{max(_BLOCKS * hop, 64)} samples. Received: {len(samples)}. Use a longer song or a smaller hop."
        )
    return samples, hop, start


def _contrasts(samples: np.ndarray, hop: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns n0 and, for each sample from n0 on, its high-passed level in dB over the levels before and after it."""
    energy = np.square(np.diff(samples, _ORDER))
    box = np.convolve(energy, np.ones(_BOX), "valid")  # a tick between samples i + 2 and i + 3 is inside box[i]
    floor = 1e-7 * box.mean()  # digital silence counts as 70 dB below the song
    level = 10 * np.log10(box + floor) if floor > 0 else np.zeros(len(box))
    guard, reach = min(_GUARD, hop // 4), min(_REACH, hop // 2)
    sums = np.concatenate([[0.0], np.cumsum(level)])
    wide = reach - guard + 1
    means = (sums[wide:] - sums[:-wide]) / wide  # means[i] is the mean of level[i : i + wide]
    here = np.arange(reach, len(level) - reach)
    return reach + _ORDER, level[here] - means[here - reach], level[here] - means[here + guard]
