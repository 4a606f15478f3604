"""Ticks: what is heard at the seams between blocks and nowhere else."""

import numpy as np
import scipy.stats

from gruvlike import _checks

# A third difference is a high-pass of +18 dB an octave that four samples settle: a jump or a click at a seam touches
# no more than these four, so its energy stays beside the seam instead of ringing into the block.
_ORDER = 3
_BOX = 4
_GUARD, _REACH = 8, 64  # samples: the surroundings of a place are those that lie this far from it
_TRIM = 0.1
_SMALLEST_HOP = 16
_BLOCKS = 4


def tick_ratio(samples: np.ndarray, hop: int, start: int = 0) -> float:
    """Median jump across the seams between blocks over the median jump elsewhere.

    A jump is `|x[n] - x[n - 1]|`, a seam is every n = start + k * hop. Music that knows nothing of the blocks reads
    1.0; the fewer the seams, the farther it strays from that by chance (a hundred seams: about 0.2).

    Args:
        samples: the song, (S,), at least four blocks long.
        hop: samples from one seam to the next, at least 2.
        start: a sample that begins a block. Samples before it are judged too.

    Returns:
        A ratio in [0, 1e6]; 1.0 = no tick, and for silence. It does not change with the gain.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than four blocks.

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
    least = 1e-6 * jumps.max()  # where nothing moves but the seams, the ratio stays finite
    return float(max(across, least) / max(elsewhere, least)) if least > 0 else 1.0


def tick_profile(samples: np.ndarray, hop: int, start: int = 0) -> np.ndarray:
    """How far the high-passed signal stands out against its surroundings, at every place in the block.

    The energy of the third difference in four samples is compared, in dB, with its surroundings: the 8 to 64 samples
    before, and as many after. Both differences are averaged over all blocks at the same place, less a tenth of
    the blocks at either end. This is the envelope of the high-passed signal, folded at the block rate: what does not
    come back with every block averages out. A drum in step with the blocks stands out against what was before it,
    not against its own decay; so the smaller of the two differences counts, and 0 where their signs differ.
    Neighbors are compared in dB, so ticks in quiet passages count as much as in loud ones.

    Args:
        samples: the song, (S,), at least four blocks long.
        hop: samples from one seam to the next, at least 16.
        start: a sample that begins a block.

    Returns:
        float64 (hop,), in dB; place 0 is the seam, most places read about 0.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than four blocks.

    References:
        The smaller of two slopes, 0 where they disagree: the minmod limiter of P. L. Roe (1986).

    Example:
        >>> import numpy as np
        >>> from gruvlike import metrics
        >>> noise = np.random.default_rng(0).normal(size=40_000)
        >>> noise[7::100] += 10
        >>> int(metrics.tick_profile(noise, 100).argmax())
        7
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
    """Level of the ticks at the seams: the `tick_profile` at its first place.

    Args:
        samples: the song, (S,), at least four blocks long.
        hop: samples from one seam to the next, at least 16.
        start: a sample that begins a block.

    Returns:
        dB, about -10 to 70; 0 = no tick, and for silence. It does not change with the gain. Chance alone makes it stray
        by about 5 dB over the square root of the number of seams. A click track in step with the hop is a
        tick by this measure: read it beside `tick_excess_db`.

    Raises:
        ValueError: if the samples are not mono and finite, or shorter than four blocks.

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
    """`tick_level_db` of the song less that of the reference: what a rhythm in step with the hop adds to both goes.

    Args:
        song: samples (S,), at least four blocks long.
        reference: the music that the song continues or imitates, as long again, at the same sample rate.
        hop: samples from one seam to the next, at least 16.

    Returns:
        dB; 0 = the song ticks no more than the reference.

    Raises:
        ValueError: if either is not mono and finite, or shorter than four blocks.

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
    """Returns n0 and, for every sample from n0 on, its high-passed energy in dB over that before it and after it."""
    energy = np.square(np.diff(samples, _ORDER))
    box = np.convolve(energy, np.ones(_BOX), "valid")  # box[i]: what a tick between samples i + 2 and i + 3 touches
    floor = 1e-7 * box.mean()  # digital silence stays 70 dB under the song, not infinitely far
    level = 10 * np.log10(box + floor) if floor > 0 else np.zeros(len(box))
    guard, reach = min(_GUARD, hop // 4), min(_REACH, hop // 2)
    sums = np.concatenate([[0.0], np.cumsum(level)])
    wide = reach - guard + 1
    means = (sums[wide:] - sums[:-wide]) / wide  # means[i]: of level[i : i + wide]
    here = np.arange(reach, len(level) - reach)
    return reach + _ORDER, level[here] - means[here - reach], level[here] - means[here + guard]
