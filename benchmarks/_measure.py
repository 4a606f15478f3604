"""Measurements: alternating runs, limits of the machine, and table rows with the ratios to rival and limit."""

import gc
import logging
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _page import machine, table, write_block

logger = logging.getLogger(__name__)
FULL = os.environ.get("FULL", "0") not in ("", "0")
PAGE = "benchmarks.md"


class Row(NamedTuple):
    """One comparison. `limit` is the best value that the machine allows; rival and limit are None if there is none."""

    what: str
    ours: float
    rival: float | None
    limit: float | None
    unit: str
    more_is_better: bool = False

    @property
    def times_the_rival(self) -> float | None:
        """How many times as good as the rival: above 1, ours is better."""
        return self._better(self.rival)

    @property
    def of_the_limit(self) -> float | None:
        """Ours as a share of the limit: 1 reaches it."""
        return self._better(self.limit)

    def _better(self, other: float | None) -> float | None:
        if other is None:
            return None
        return self.ours / other if self.more_is_better else other / self.ours

    def cells(self) -> list[str]:
        """The row as it stands on the page."""
        values = [_number(value, self.unit) for value in (self.ours, self.rival, self.limit)]
        return [self.what, *values, _ratio(self.times_the_rival), _ratio(self.of_the_limit)]


def publish(name: str, rows: list[Row], notes: str = "") -> None:
    """Writes the table of `rows` into the block `name` of the page, and logs it."""
    header = ("what", "ours", "rival", "limit", "times the rival", "of the limit")
    text = table(header, [row.cells() for row in rows])
    write_block(PAGE, name, f"{text}\n\n{notes.strip()}\n\n{machine()}")
    logger.info("%s\n%s\n", text, notes.strip())


def in_turn(actions: dict[str, Callable[[], Any]], rounds: int = 3) -> dict[str, float]:
    """Returns the median seconds of each action. Runs alternate (A B A B).

    So changes in the speed of the machine affect all alike. Compilation and caches must have been warmed up.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds_of(action))
    return {name: statistics.median(taken) for name, taken in times.items()}


def seconds_of(action: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    gc.collect()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def matrix_peak(size: int = 2048, dtype: str = "float32", repeats: int = 4, rounds: int = 5) -> float:
    """GFLOP/s of a product of two square matrices: the best of several, by the backend or (on a CPU) by numpy."""
    import keras

    square = keras.ops.cast(keras.ops.ones((size, size)), dtype)
    plain = np.ones((size, size), "float32")

    def products() -> None:
        product = square
        for _ in range(repeats):
            product = keras.ops.matmul(product, square)
        keras.ops.convert_to_numpy(product[:1, :1])  # waits for the device

    actions = [products]
    if dtype == "float32" and not accelerator():
        actions.append(lambda: [plain @ plain for _ in range(repeats)])
    products()
    fastest = min(seconds_of(action) for _ in range(rounds) for action in actions)
    return 2 * size**3 * repeats / fastest / 1e9


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def read_rate(size: int = 2**29, rounds: int = 5) -> float:
    """Bytes a second that all cores together read of `size` bytes of float32 in memory.

    The better of two ways: a product of a matrix and a vector, as BLAS shares it out, and products of two vectors,
    some for each core. `size` must be beyond all caches.
    """
    matrix = np.ones((max(2, size // 4096), 1024), "float32")
    vector = np.ones(1024, "float32")
    halves = [np.array_split(half, cores()) for half in np.split(matrix.ravel()[: matrix.size // 2048 * 2048], 2)]
    with ThreadPoolExecutor(cores()) as pool:
        ways = (lambda: matrix @ vector, lambda: list(pool.map(np.dot, *halves)))
        return matrix.nbytes / min(seconds_of(way) for _ in range(rounds) for way in ways)


def read_seconds(size: int, rounds: int = 5) -> float:
    """Seconds a time when one matrix of `size` bytes is read again and again: of a cache, if it fits there."""
    matrix = np.ones((max(1, size // 4096), 1024), "float32")
    vector = np.ones(1024, "float32")
    repeats = max(1, 2**28 // matrix.nbytes)
    return min(seconds_of(lambda: [matrix @ vector for _ in range(repeats)]) for _ in range(rounds)) / repeats


def cache_bytes() -> int:
    """Size of the largest cache of the processor; 0 where the system does not tell."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(path.read_text().strip().rstrip("K")) * 1024 for path in sizes), default=0)


def accelerator() -> str | None:
    """The name of the device that Keras computes on, or None where it is the CPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(devices[0]).get("device_name", "GPU") if devices else None
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


@contextmanager
def peak_memory(interval: float = 0.02) -> Iterator[Callable[[], float]]:
    """Gives a function that says, after the block, how many MB of anonymous memory it took at most.

    Pages of mapped files do not count: the system takes them back when it needs them.
    """
    base = peak = _anonymous_mb()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(interval):
            peak = max(peak, _anonymous_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: peak - base
    finally:
        peak = max(peak, _anonymous_mb())
        over.set()
        watcher.join()


def _anonymous_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise OSError("This system does not tell RssAnon.")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:.{digits}f} {unit}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
