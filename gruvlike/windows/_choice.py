"""Window sizes that fit the music."""

from collections.abc import Sequence
from typing import NamedTuple

from gruvlike._contracts import FramesOfSound, Music


class Grid(NamedTuple):
    """The sizes of windows that `choose_grid` chose.

    They are used as in `corpus.windows(encoder, grid.steps, hop=grid.hop)`.

    Attributes:
        steps: Frames in a window that are predicted.
        hop: Samples from one window to the next.
    """

    steps: int
    hop: int


def choose_grid(parts: Sequence[Music], encoder: FramesOfSound, steps: int = 40, windows: int = 256) -> Grid:
    """Chooses windows that fit the music: as many steps as asked for where the music is long, fewer where it is short.

    Short music gets shorter windows, so that each part has a track for one, and windows that overlap, so that there are
    about as many as asked for.

    Args:
        parts: The parts of a split, the one to train on first.
        encoder: The `Encoder` that cuts the music into frames.
        steps: Frames in a window, at most.
        windows: How many windows the first part should have, about.

    Returns:
        The `Grid`: at least 4 steps, and a hop of 1 to `steps` frames.

    Raises:
        ValueError: If a part is too short for windows of 4 steps.

    Example:
        >>> import gruvlike as gl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gl.audio.write(f"{folder}/tune.wav", gl.tune.compose(4, 8000), sample_rate=8000)
        ...     corpus = gl.Corpus.build(folder, f"{folder}/tune.h5", sample_rate=8000)
        ...     train, validation = corpus.split(validation=0.25)
        ...     choose_grid((train, validation), gl.BlockDFT(block_size=400))
        Grid(steps=19, hop=400)
    """
    least = min(max(len(track) for track in part) for part in parts)
    frames = (least - encoder.span(1)) // encoder.hop + 1
    if frames < 5:
        needs, rate = encoder.span(5), parts[0].sample_rate
        raise ValueError(
            f"Training needs a track of at least {needs} samples ({needs / rate:.1f} s) on either side of the split. "
            f"Received: {least} samples ({least / rate:.1f} s). Give more music, or use smaller blocks."
        )
    steps = min(steps, frames - 1)
    total = sum(len(track) for track in parts[0]) // encoder.hop
    return Grid(steps, min(max(total // windows, 1), steps) * encoder.hop)
