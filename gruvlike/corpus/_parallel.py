"""Work on many items at once, with a progress bar."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    sizes: Sequence[int],
    title: str,
    unit: str,
    executor: Executor | None = None,
    stop: threading.Event | None = None,
) -> list[Result]:
    """Returns the result of `work` for each item; the largest come first so that no long one is left for the end.

    Args:
        work: The function of one item.
        items: The items.
        sizes: How much work each of them is.
        title: Words in front of the progress bar.
        unit: The word for an item.
        executor: Where the work is done. `None`: a thread for each core.
        stop: Is set after an error or Ctrl-C, so that work can end early.
    """
    pool: AbstractContextManager = nullcontext()
    if executor is None:
        # Threads will do: decoding, filtering and transforms release the GIL, and no process has to be started.
        pool = executor = ThreadPoolExecutor(_cores())
    results: dict[int, Result] = {}
    with pool:
        futures = {executor.submit(work, items[i]): i for i in sorted(range(len(items)), key=lambda i: -sizes[i])}
        try:
            for future in tqdm(as_completed(futures), title, len(futures), unit=unit, disable=None):
                results[futures[future]] = future.result()
        except BaseException:  # Ctrl-C counts, too: the threads must end before the interpreter can
            if stop is not None:
                stop.set()
            for future in futures:
                future.cancel()
            raise
    return [results[i] for i in range(len(items))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
