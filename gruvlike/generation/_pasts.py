"""What the network knows of the past at each step: carried states, or frames that are fed again."""

from typing import Any

import keras
import numpy as np

from gruvlike._step._loops import Loop
from gruvlike._step._stateless import check_carries


class CarriedPast:
    """The whole past in the states: constant cost a step.

    All clips go through the loop together. One whose seed is shorter than the longest begins its song while the others
    still hear their seeds, and is that much ahead from then on: its frames wait.

    Args:
        loop: The compiled loop, for as many clips as there are seeds.
        seeds: Normalized frames (T, F), for each clip.
    """

    def __init__(self, loop: Loop, seeds: list[np.ndarray]):
        self._loop, self._carried = loop, loop.initial()
        self.chunk = loop.chunk
        self._none = self._waiting = [seed[:0] for seed in seeds]  # waiting: predicted, and not yet taken
        longest = max(map(len, seeds))
        for start in range(0, longest, loop.chunk):
            heard = [seed[start : start + loop.chunk] for seed in seeds]
            # The last step of a seed predicts the first frame of the song.
            skipped = [max(0, len(seed) - 1 - start) for seed in seeds]
            self._run(heard, min(loop.chunk, longest - start), skipped)

    def _run(self, heard: list[np.ndarray], steps: int, skipped: list[int]) -> None:
        outputs, self._carried = self._loop.run(heard, steps, self._carried)
        new = [output[skip:] for output, skip in zip(outputs, skipped, strict=True)]
        if any(map(len, self._waiting)):
            new = [np.concatenate(both) for both in zip(self._waiting, new, strict=True)]
        self._waiting = new

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, F), `steps` at most `chunk`."""
        missing = steps - min(map(len, self._waiting))
        if missing > 0:
            self._run(self._none, missing, [0] * len(self._none))
        frames = np.stack([waiting[:steps] for waiting in self._waiting])
        self._waiting = [waiting[steps:] for waiting in self._waiting]
        return frames


class RefedPast:
    """The past fed again at each step, whole or the last `window` frames: the cost of a step grows with it.

    Sequences are padded on the right to a power of two, so that few lengths are compiled; a network that reads only
    the past does not notice.

    Args:
        forward: A compiled (B, T, F) -> (B, T, F).
        seed: Normalized frames (B, T, F).
        window: How many frames are fed, or `None` for all.
    """

    chunk = 16

    def __init__(self, forward: Any, seed: np.ndarray, window: int | None):
        self._forward, self._past, self._window = forward, seed, window

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, F)."""
        outputs = []
        for _ in range(steps):
            past = self._past if self._window is None else self._past[:, -self._window :]
            length = past.shape[1]
            padded = np.pad(past, ((0, 0), (0, _power_of_two(length) - length), (0, 0)))
            output = keras.ops.convert_to_numpy(self._forward(padded)[:, length - 1 : length]).astype("float32")
            self._past = np.concatenate([past, output], axis=1)
            outputs.append(output)
        return np.concatenate(outputs, axis=1)


def check_causal(stack: keras.Model, forward: Any, features: int) -> None:
    """Raises if what `stack` predicts at a step depends on later frames; layers that are known not to are not tried."""
    try:
        check_carries(stack)
    except ValueError:
        frames = np.random.default_rng(0).standard_normal((1, 8, features)).astype("float32")
        changed = np.concatenate([frames[:, :4], -frames[:, 4:]], axis=1)
        before, after = (keras.ops.convert_to_numpy(forward(x))[:, :4] for x in (frames, changed))
        if not np.allclose(before, after, rtol=1e-3, atol=1e-5):
            raise ValueError(
                "A stack that generates must read only the past. Received: a stack whose predictions change with later "
                'frames. Use causal layers (`padding="causal"` in Conv1D, `use_causal_mask=True` in attention).'
            ) from None


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()
