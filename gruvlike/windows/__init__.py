"""Batches of PCM windows for `fit`, cut from the mapped corpus when they are asked for.

Nothing is kept but the lengths of the tracks: the position of any window follows by arithmetic, and the shuffling is a
keyed permutation that is computed, not stored. So every overlapping window of a thousand hours costs no more memory
than those of one.
"""

from gruvlike.windows._choice import Grid, choose_grid
from gruvlike.windows._permutation import permuted
from gruvlike.windows._windows import Windows

__all__ = ["Grid", "Windows", "choose_grid", "permuted"]
