"""Music that nothing can be learned from: silence, constants, clipping."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gruvlike.corpus._build import SILENCE


def corpus_warnings(corpus: Any, pieces: int = 200) -> list[str]:
    """Points out music that nothing can be learned from, by a look at up to `pieces` seconds spread over the corpus.

    Args:
        corpus: A `Corpus`, or a part of one.
        pieces: How many seconds to look at, at most.

    Returns:
        A sentence for each thing found; an empty list if there is nothing to say.
    """
    looks = [(track, *_look(pcm)) for track, pcm in _pieces(corpus, pieces)]
    shares = np.mean([look[1:] for look in looks], axis=0)
    found = []
    what = ("is silent", "is one constant", "is clipped (at full scale for several samples on end)")
    for share, least, words, column in zip(shares, (0.1, 0.1, 0.01), what, (1, 2, 3), strict=True):
        if share >= least:
            names = sorted({repr(look[0].name) for look in looks if look[column]})
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            found.append(f"About {100 * share:.0f} % of the music {words}: {some}.")
    return found


def _pieces(corpus: Any, count: int) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields seconds of the music, evenly spread."""
    sizes = np.array([len(track) for track in corpus])
    ends, second = np.cumsum(sizes), corpus.sample_rate
    count = max(1, min(count, int(ends[-1]) // second))
    for position in (np.arange(count) * ends[-1]) // count:
        index = int(np.searchsorted(ends, position, side="right"))
        start = int(position - (ends[index] - sizes[index]))
        start = max(0, min(start, int(sizes[index]) - second))
        yield corpus[index], np.asarray(corpus[index].pcm[start : start + second])


def _look(pcm: np.ndarray) -> tuple[bool, bool, bool]:
    """Whether a piece is silent (as `Corpus.build` judges it), one constant, clipped."""
    low, high = int(pcm.min()), int(pcm.max())
    is_silent = max(-low, high) <= SILENCE * 32768
    at_limit = (pcm >= 32767) | (pcm <= -32767)
    is_clipped = bool((at_limit[2:] & at_limit[1:-1] & at_limit[:-2]).any())
    return is_silent, low == high and not is_silent, is_clipped and low != high
