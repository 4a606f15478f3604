"""Two checkouts of the package against each other, in one run: a step of training, a step of a song, compiling, import.

KERAS_BACKEND=tensorflow python benchmarks/before_after.py OLD NEW

OLD and NEW are folders that hold a `gruvlike/` each, for instance two git worktrees. A process of its own serves each;
they are asked in turn, so that changes in the speed of the machine affect both alike.

`--first N` measures first calls alone: each part is made anew N times, traces and compiles anew, and its first call is
timed. The rows without `--first` time the first call once in each process. `--pairs N` asks N processes of each side,
because two processes of the same code can differ by more than a twentieth for as long as they live. A ratio is the
geometric mean over the pairs, of the medians of a pair; beside it stands its standard error.
"""

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROUNDS = 7


class Side:
    """A process that measures one checkout when it is asked.

    Args:
        folder: The checkout.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{HERE}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(HERE / "before_after.py"), "--serve"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self._process: Any = subprocess.Popen(command, env=environment, cwd=folder, **pipes)

    def tell(self, line: str) -> None:
        """Sends a line."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def ask(self, question: str) -> Any:
        """Sends a line, and returns the answer."""
        self.tell(question)
        while not (line := self._process.stdout.readline()).startswith("{"):
            if not line:
                raise RuntimeError(f"The process that measures {str(self.folder)!r} has ended.")
        return json.loads(line)["answer"]

    def import_seconds(self) -> float:
        """Seconds that `import gruvlike` takes in a fresh Python."""
        code = "import time; s = time.perf_counter(); import gruvlike; print(time.perf_counter() - s)"
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)


def serve() -> None:
    """Answers questions: "train NAME", "song NAME" (each made by "make train NAME", which says how long that took)."""
    import _networks

    ready: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        words = line.split()
        start = time.perf_counter()
        if words[0] == "make":
            ready[" ".join(words[1:])] = action = MAKERS[words[1]](getattr(_networks, words[2]))
            action()  # compiles
        elif words[0] == "drop":
            ready.clear()
            gc.collect()
            continue
        else:
            ready[line.strip()]()
        print(json.dumps({"answer": time.perf_counter() - start}), flush=True)


def _training_step(network: Any) -> Callable[[], Any]:
    model = network.make_model()
    pcm = network.pcm()
    return lambda: model.train_on_batch(pcm)


def _song(network: Any, clips: int = 1) -> Callable[[], Any]:
    import numpy as np

    import gruvlike as gl

    encoder = network.make_encoder()
    generator = gl.Generator(network.make_stack(), encoder=encoder, sample_rate=network.sample_rate)
    seed = np.random.default_rng(0).standard_normal(encoder.span(2)).astype("float32") / 10
    steps = int(np.clip(1.0 / (network.parameters() * 4 / 20e9 + 1e-4), 50, 2000))
    return lambda: generator.extend(seed, steps=steps, clips=clips)


def _clips(network: Any) -> Callable[[], Any]:
    return _song(network, 16)


MAKERS = {"train": _training_step, "song": _song, "clips": _clips}
Times = dict[str, tuple[list[float], list[float]]]  # by row: milliseconds of both sides
Ratio = tuple[float, float]


def compare(sides: list[Side], rounds: int, names: list[str], times: Times) -> None:
    """Adds the times of first calls, of calls, and of importing the package."""
    for name in names:
        for index in range(-1, rounds):
            row, question = (name, name) if index >= 0 else (f"{name}, the first (compiling)", f"make {name}")
            for side in (0, 1) if index % 2 else (1, 0):
                times.setdefault(row, ([], []))[side].append(1e3 * sides[side].ask(question))
        for side in sides:
            side.tell("drop")
    for _ in range(rounds):
        for number, side in enumerate(sides):
            times.setdefault("import gruvlike", ([], []))[number].append(1e3 * side.import_seconds())


def compare_first(sides: list[Side], rounds: int, names: list[str], times: Times) -> None:
    """Adds the times of making a part and calling it, which traces and compiles anew."""
    for name in names:
        row = times.setdefault(f"{name}, the first (compiling)", ([], []))
        for index in range(rounds + 1):
            for side in (0, 1) if index % 2 else (1, 0):
                milliseconds = 1e3 * sides[side].ask(f"make {name}")
                sides[side].tell("drop")
                if index:  # the first round, which loads libraries besides, is not counted
                    row[side].append(milliseconds)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="?", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--first", type=int, metavar="N", help="first calls alone, the median of N")
    parser.add_argument("--pairs", type=int, default=1, metavar="N", help="fresh processes, N of each side in turn")
    parser.add_argument("--networks", nargs="*", default=("PAPER", "BLOG", "LAPPED", "SMALL"))
    parser.add_argument("--rows", nargs="*", default=tuple(MAKERS), choices=tuple(MAKERS))
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.old is None or options.new is None:
        parser.error("two checkouts are compared: OLD NEW")
    names = [f"{kind} {network}" for network in options.networks for kind in options.rows]
    pairs: list[Times] = []
    for _ in range(options.pairs):
        times: Times = {}
        sides = [Side(folder.resolve()) for folder in (options.old, options.new)]
        if options.first:
            compare_first(sides, options.first, names, times)
        else:
            compare(sides, options.rounds, names, times)
        for side in sides:
            side.close()
        pairs.append(times)
        write(pairs)


def ratio(logarithms: list[float]) -> Ratio:
    """Returns the geometric mean of ratios whose logarithms are given, and its relative standard error."""
    many = len(logarithms) > 1
    error = statistics.stdev(logarithms) / math.sqrt(len(logarithms)) if many else math.nan
    return math.exp(statistics.mean(logarithms)), error


def write(pairs: list[Times]) -> None:
    """Prints the medians of both sides and their ratio, for each row and for all rows of a kind together."""
    from _page import machine, table

    cells, kinds = [], dict[str, list[list[float]]]()
    for name in pairs[0]:
        medians = [tuple(map(statistics.median, times[name])) for times in pairs]
        logarithms = [math.log(new / old) for old, new in medians]
        kind = name if name.startswith("import") else " ".join(w for w in name.split() if not w.isupper())
        kinds.setdefault(kind, []).append(logarithms)
        old, new = (statistics.median(side) for side in zip(*medians, strict=True))
        cells.append([name, f"{old:.4g}", f"{new:.4g}", "{:.3f} ± {:.3f}".format(*ratio(logarithms))])
    for kind, rows in kinds.items():
        means = [statistics.mean(pair) for pair in zip(*rows, strict=True)]
        cells.append([f"all: {kind}", "", "", "{:.3f} ± {:.3f}".format(*ratio(means))])
    header = ["median ms", "before", "after", "after / before"]
    sys.stdout.write(f"{table(header, cells)}\n\n{len(pairs)} pairs. {machine()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
