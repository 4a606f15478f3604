"""Music that nothing can be learned from: silence, constants, clipping."""

from collections.abc import Iterator

import numpy as np

from gruvlike._contracts import Music
from gruvlike._music import Sound, tracks
from gruvlike.corpus._build import SILENCE


def corpus_warnings(corpus: Music, pieces: int = 200) -> list[str]:
    """Points out music that nothing can be learned from, by a look at up to `pieces` seconds spread over the corpus.

    Args:
        corpus: A `Corpus`, or a part of one.
        pieces: How many seconds to look at, at most.

    Returns:
        A sentence for each thing found; an empty list if there is nothing to say.

    Example:
        >>> import gruvlike as gl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gl.audio.write(f"{folder}/flat.wav", np.full(16_000, 0.3), 8000)
        ...     corpus_warnings(gl.Corpus.build(folder, f"{folder}/music.h5", 8000, high_pass_hz=None))
        ["About 100 % of the music is one constant: 'flat.wav'."]
    """
    looks = [(name, *_judged(pcm)) for name, pcm in _pieces(corpus, pieces)]
    shares = np.mean([look[1:] for look in looks], axis=0)
    found = []
    what = ("is silent", "is one constant", "is clipped (at full scale for several samples on end)")
    for share, least, words, column in zip(shares, (0.1, 0.1, 0.01), what, (1, 2, 3), strict=True):
        if share >= least:
            names = sorted({repr(look[0]) for look in looks if look[column]})
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            found.append(f"About {100 * share:.0f} % of the music {words}: {some}.")
    return found


def _pieces(corpus: Music, count: int) -> Iterator[Sound]:
    """Yields seconds of the music, evenly spread, under the names of their tracks."""
    sounds, second = list(tracks(corpus)), corpus.sample_rate
    sizes = np.array([len(samples) for _, samples in sounds])
    ends = np.cumsum(sizes)
    count = max(1, min(count, int(ends[-1]) // second))
    for position in (np.arange(count) * ends[-1]) // count:
        index = int(np.searchsorted(ends, position, side="right"))
        start = int(position - (ends[index] - sizes[index]))
        start = max(0, min(start, int(sizes[index]) - second))
        name, samples = sounds[index]
        yield Sound(name, samples[start : start + second])


def _judged(pcm: np.ndarray) -> tuple[bool, bool, bool]:
    """Returns whether a piece is silent (as `Corpus.build` judges it), one constant, clipped."""
    low, high = int(pcm.min()), int(pcm.max())
    is_silent = max(-low, high) <= SILENCE * 32768
    at_limit = (pcm >= 32767) | (pcm <= -32767)
    is_clipped = bool((at_limit[2:] & at_limit[1:-1] & at_limit[:-2]).any())
    return is_silent, low == high and not is_silent, is_clipped and low != high
