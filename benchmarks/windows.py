"""Windows: batches from a corpus of 100 hours, in random order, against the training step that takes them.

python benchmarks/windows.py
"""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, in_turn, publish, seconds_of
from _networks import BLOG, Network
from windows_memory import sparse_corpus


class Endless(keras.utils.PyDataset):
    """The same batch again and again: what a pipeline that costs nothing would give."""

    def __init__(self, batch: np.ndarray, length: int):
        super().__init__()
        self.batch, self.length = batch, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (self.batch,)


class Some(keras.utils.PyDataset):
    """The first `length` batches of windows: an epoch of 100 hours would be too long."""

    def __init__(self, windows: Any, length: int):
        super().__init__()
        self.windows, self.length = windows, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return self.windows[index]


def feed(windows: Any, batches: int, step: float) -> float:
    """Seconds that a consumer takes that asks for a batch every `step` seconds, as Keras asks: one batch ahead."""
    from concurrent.futures import ThreadPoolExecutor

    def consume() -> None:
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(windows.__getitem__, 0)
            for index in range(1, batches + 1):
                ahead.result()
                ahead = pool.submit(windows.__getitem__, index)
                time.sleep(step)

    return seconds_of(consume)


def measure(
    network: Network = BLOG, hours: int = 100, steps: int = 4, rounds: int = 3, batches: int = 100
) -> tuple[list[Row], str]:
    """Measures reading, its share of a training step, and a consumer of 50 times that speed."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = sparse_corpus(Path(folder) / "sparse.h5", hours)
        encoder = network.make_encoder()
        windows = corpus.windows(encoder, network.steps, network.batch_size, hop=encoder.hop)
        batch = windows[0][0]
        model = network.make_model()
        fed = {"windows": Some(windows, steps), "memory": Endless(batch, steps)}
        actions = {name: lambda data=data: model.fit(data, verbose=0) for name, data in fed.items()}
        for action in actions.values():
            action()  # compiles
        trained = in_turn(actions, rounds)
        step = trained["memory"] / steps
        spread = np.linspace(0, len(windows) - 1, batches, dtype=int)
        reading = in_turn(
            {
                "windows": lambda: [windows[int(index)] for index in spread],
                "copy": lambda: [batch.copy() for _ in spread],
            },
            rounds,
        )
        fast = step / 50
        fed_fast = feed(windows, batches, fast) / batches
    name = f"{hours} h, {len(windows):,} batches of {network.batch_size} x {batch.shape[1]} samples"
    rows = [
        Row(
            f"reading a batch, {name}; limit: copying one in memory",
            *(1e3 * value for value in (reading["windows"] / batches, step, reading["copy"] / batches)),
            "ms",
        ),
        Row(
            "a training step from windows; limit: from one batch in memory", trained["windows"] / steps, None, step, "s"
        ),
        Row(
            "a consumer of 50 times the speed; limit: its own time",
            1e3 * fed_fast,
            None,
            1e3 * fast,
            "ms a batch",
        ),
    ]
    return rows, (
        f"The network is {network.name}. The rival of reading is the training step that takes the batch: so many times "
        "faster is the reading. Windows overlap and come in random order. The corpus is a sparse file: what a disk "
        "adds is not in these figures."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("windows", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
