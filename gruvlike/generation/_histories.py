"""What the network knows of the past at each step: carried states, or frames that are fed again."""

from typing import Any

import keras
import numpy as np

from gruvlike._twin import check_carries
from gruvlike.generation._loops import Loop


class CarriedHistory:
    """The whole past in the states: constant cost a step.

    Args:
        loop: The compiled loop, for as many clips as there are seeds.
        seed: Normalized frames (B, T, F).
    """

    def __init__(self, loop: Loop, seed: np.ndarray):
        self._loop, self._carried = loop, loop.initial()
        self.chunk = loop.chunk
        for start in range(0, seed.shape[1], loop.chunk):
            piece = seed[:, start : start + loop.chunk]
            output, self._carried = loop.run(piece, piece.shape[1], self._carried)
        self._first: np.ndarray | None = output[:, -1:]  # the seed's last step has predicted the song's first frame
        self._none = seed[:, :0]

    def take(self, steps: int) -> np.ndarray:
        """Returns the next `steps` frames of the song, (B, steps, F), `steps` at most `chunk`."""
        first, self._first = self._first, None
        if first is not None and steps == 1:
            return first
        rest = steps if first is None else steps - 1
        frames, self._carried = self._loop.run(self._none, rest, self._carried)
        return frames if first is None else np.concatenate([first, frames], axis=1)


class RepeatedHistory:
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
