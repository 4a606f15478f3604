"""Two checkouts of the package against each other, in one run: a step of training, a step of a song, compiling, import.

KERAS_BACKEND=tensorflow python benchmarks/before_after.py OLD NEW

OLD and NEW are folders that hold a `gruvlike/` each, for instance two git worktrees. A process of its own serves each;
they are asked in turn, so that changes in the speed of the machine affect both alike.
"""

import argparse
import json
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

    def ask(self, question: str) -> Any:
        """Sends a line, and returns the answer."""
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
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


def compare(sides: list[Side], rounds: int, networks: tuple[str, ...]) -> list[tuple[str, float, float]]:
    """Returns (row, old, new): median milliseconds."""
    found = []
    for network in networks:
        for kind in MAKERS:
            name = f"{kind} {network}"
            made = [side.ask(f"make {name}") for side in sides]
            found.append((f"{name}, the first (compiling)", *(1e3 * seconds for seconds in made)))
            times: list[list[float]] = [[], []]
            for index in range(rounds):
                for side in (0, 1) if index % 2 else (1, 0):
                    times[side].append(1e3 * sides[side].ask(name))
            found.append((name, statistics.median(times[0]), statistics.median(times[1])))
        for side in sides:
            side._process.stdin.write("drop\n")
    imports = [[1e3 * side.import_seconds() for side in sides] for _ in range(rounds)]
    found.append(("import gruvlike", *(statistics.median(column) for column in zip(*imports, strict=True))))
    return found


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="?", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--networks", nargs="*", default=("PAPER", "BLOG", "LAPPED", "SMALL"))
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.old is None or options.new is None:
        parser.error("two checkouts are compared: OLD NEW")
    sides = [Side(folder.resolve()) for folder in (options.old, options.new)]
    rows = compare(sides, options.rounds, tuple(options.networks))
    from _page import machine, table

    cells = [[name, f"{old:.4g}", f"{new:.4g}", f"{new / old:.3f}"] for name, old, new in rows]
    sys.stdout.write(f"{table(['median ms', 'before', 'after', 'after / before'], cells)}\n\n{machine()}\n")


if __name__ == "__main__":
    main()
