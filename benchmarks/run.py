"""All benchmarks, or some: each writes its own block of docs/benchmarks.md, so that it can be stopped and gone on with.

    python benchmarks/run.py [start prepare windows train choices generate gpu]

BACKENDS=all (or a list, "tensorflow,jax") trains and generates on other backends too, where they are installed; FULL=1
takes more runs, and ten hours of music instead of three.
"""

import argparse
import importlib.util
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = ("start", "prepare", "windows", "train", "choices", "generate", "gpu")
BACKENDS = ("tensorflow", "jax", "torch")
ON_EACH_BACKEND = {"train", "generate", "gpu"}

logger = logging.getLogger(__name__)


def python_with(backend: str) -> str | None:
    """A Python that has `backend`: this one, that named by JAX_PYTHON or TORCH_PYTHON, or that of `make test-jax`."""
    if importlib.util.find_spec(backend):
        return sys.executable
    named = os.environ.get(f"{backend.upper()}_PYTHON"), HERE.parent / f".venv-{backend}" / "bin" / "python"
    return next((str(path) for path in named if path and Path(path).exists()), None)


def plan(rows: list[str], backends: list[str]) -> list[tuple[str, str]]:
    """Returns (row, backend) in the order of `ROWS`; what does not depend on the backend runs on the first alone."""
    chosen = [row for row in ROWS if row in (rows or ROWS)]
    return [(row, backend) for row in chosen for backend in (backends if row in ON_EACH_BACKEND else backends[:1])]


def run(row: str, backend: str) -> bool:
    """Runs one row in a process of its own; says whether it succeeded."""
    python = python_with(backend)
    if python is None:
        logger.warning("%s: %s is not installed here, skipped", row, backend)
        return True
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    start = time.perf_counter()
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths}
    done = subprocess.run([python, str(HERE / f"{row}.py")], env=environment, check=False)
    state = "done" if done.returncode == 0 else f"FAILED with code {done.returncode}"
    logger.info("--- %s, %s: %s in %.0f s", row, backend, state, time.perf_counter() - start)
    return done.returncode == 0


def main() -> int:
    """Runs what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="row", help="which; default: all")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = os.environ.get("BACKENDS") or "tensorflow"
    backends = list(BACKENDS) if chosen == "all" else chosen.split(",")
    if unknown := set(backends) - set(BACKENDS):
        parser.error(f"BACKENDS must be `all`, or some of {', '.join(BACKENDS)}. Received: {', '.join(unknown)}.")
    succeeded = [run(row, backend) for row, backend in plan(options.rows, backends)]
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main())
