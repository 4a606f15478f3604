"""Windows: batches from a corpus of 100 hours, in random order, against the training step that takes them.

python benchmarks/windows.py
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, in_turn, publish
from _networks import BLOG, Network
from windows_memory import sparse_corpus


class Endless(keras.utils.PyDataset):
    """The same batch again and again: the result of a pipeline without cost."""

    def __init__(self, batch: dict[str, np.ndarray], length: int):
        super().__init__()
        self.batch, self.length = batch, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        return (self.batch,)


class Fresh(keras.utils.PyDataset):
    """`length` batches of windows that no epoch gave before: a whole epoch of 100 hours would be too long.

    With `again` they are the same in each epoch, so that the system has them in its cache.
    """

    def __init__(self, windows: Any, length: int, again: bool = False):
        super().__init__()
        self.windows, self.length, self.again, self.first = windows, length, again, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        return self.windows[(self.first + index) % len(self.windows)]

    def on_epoch_end(self) -> None:
        """Moves to the next windows. Keras calls it after each epoch, and once before the first."""
        self.first += 0 if self.again else self.length


class Consumer(keras.Model):
    """Asks for batches through `fit`, and does nothing with them."""

    def call(self, batch: Any) -> Any:
        return batch

    def train_step(self, *given: Any) -> Any:
        """Returns logs; JAX passes its state through."""
        logs = {"loss": keras.ops.zeros(())}
        return (logs, given[0]) if len(given) == 2 else logs


class Busy(keras.callbacks.Callback):
    """Waits at each batch without using the processor, as with a GPU."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Called by Keras."""
        time.sleep(self.seconds)


def consume(data: keras.utils.PyDataset, seconds: float) -> Callable[[], Any]:
    """Returns an epoch of a consumer that takes `seconds` a batch."""
    model, busy = Consumer(), Busy(seconds)
    model.compile()
    return lambda: model.fit(data, callbacks=[busy], shuffle=False, verbose=0)


def forget(path: Path) -> None:
    """Drops a file from the page cache, on systems that can."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reading(windows: Any, path: Path, batches: int, rounds: int) -> dict[str, float]:
    """Seconds a batch, in turn: new windows that nothing has in memory, the same again, and a copy of one in memory."""
    order, pcm = iter_fresh(len(windows), batches), windows[0][0]["pcm"]
    at_hand: list[int] = []

    # Batches are read one by one, as in training. All together would need new pages of memory each time.
    def read() -> None:
        for index in at_hand:
            windows[index]

    def cold() -> None:
        at_hand[:] = next(order)
        read()

    def copy() -> None:
        for _ in range(batches):
            pcm.copy()

    actions = {"forget": lambda: forget(path), "cold": cold, "cached": read, "copy": copy}
    return {name: taken / batches for name, taken in in_turn(actions, rounds).items()}


def consuming(windows: Any, path: Path, batches: int, rounds: int, seconds: float) -> dict[str, float]:
    """Seconds a batch, in turn, of a consumer that takes `seconds`: new windows, the same again, a batch in memory."""
    actions = {
        "cold": consume(Fresh(windows, batches), seconds),
        "cached": consume(Fresh(windows, batches, again=True), seconds),
        "memory": consume(Endless(windows[0][0], batches), seconds),
        "alone": lambda: [time.sleep(seconds) for _ in range(batches)],
    }
    forget(path)
    for action in actions.values():
        action()
    return {name: taken / batches for name, taken in in_turn(actions, rounds).items()}


def iter_fresh(total: int, batches: int) -> Iterator[list[int]]:
    """Yields `batches` indices below `total`, spread over the range, different ones each time while there are any."""
    step = max(1, total // batches)
    first = 0
    while True:
        yield [(first + step * index) % total for index in range(batches)]
        first += 1


def measure(
    network: Network = BLOG, hours: int = 100, steps: int = 16, rounds: int = 3, batches: int = 100
) -> tuple[list[Row], str]:
    """Measures reading, its share of a training step, and a consumer of 50 times that speed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sparse.h5"
        encoder = network.make_encoder()
        windows = sparse_corpus(path, hours).windows(encoder, network.steps, network.batch_size, hop=encoder.hop)
        batch, model = windows[0][0], network.make_model()
        # Short epochs first: they compile.
        for data in (Fresh(windows, 1), Endless(batch, 1)):
            model.fit(data, verbose=0)
        fed = {"windows": Fresh(windows, steps), "memory": Endless(batch, steps)}
        trained = in_turn({name: lambda data=data: model.fit(data, verbose=0) for name, data in fed.items()}, rounds)
        step = trained["memory"] / steps
        read = reading(windows, path, batches, rounds)
        consumed = consuming(windows, path, batches, rounds, step / 50)
    name = f"{hours} h, {len(windows):,} batches of {network.batch_size} x {windows.span} samples"
    cold, cached, copy = (1e3 * read[key] for key in ("cold", "cached", "copy"))
    rivals = 1e3 * consumed["memory"], 1e3 * consumed["alone"], "ms a batch"
    rows = [
        Row(f"reading a batch, {name}; limit: copying one in memory", cold, 1e3 * step, copy, "ms"),
        Row("the same again, from the cache of the system", cached, 1e3 * step, copy, "ms"),
        Row(
            "a training step from windows; limit: from one batch in memory", trained["windows"] / steps, None, step, "s"
        ),
        Row(
            "a consumer of 50 times the speed; rival: from one batch in memory; limit: its own time",
            *(1e3 * consumed["cold"], *rivals),
        ),
        Row("the same, music in the cache of the system", 1e3 * consumed["cached"], *rivals),
    ]
    return rows, (
        f"The network is {network.name}. The rival of reading is the training step that takes the batch: so many times "
        "faster is the reading. Windows overlap, come in random order, and are others in each round. Training and the "
        f"consumer take their batches through `fit`, {steps} and {batches} an epoch; the consumer does nothing but "
        "wait, so what its rival takes beyond the limit is the way of Keras from a batch in memory to a step. The "
        "corpus is a sparse file: what a disk adds is not in these figures."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("windows", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
