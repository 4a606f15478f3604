"""All benchmarks, or some: each writes its own block of docs/benchmarks.md, so that it can be stopped and continued.

    python benchmarks/run.py [start prepare fitting windows train parts choices generate stream music gpu]

BACKENDS=all (or a list, "tensorflow,jax") trains and generates on other backends too, each of which must be installed;
FULL=1 takes more runs.
"""

import argparse
import functools
import importlib.util
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = ("start", "prepare", "fitting", "windows", "train", "parts", "choices", "generate", "stream", "music", "gpu")
BACKENDS = ("tensorflow", "jax", "torch")
ON_EACH_BACKEND = {"train", "generate", "stream", "gpu"}

logger = logging.getLogger(__name__)


def how_to_get(backend: str) -> str:
    """Returns the advice for a missing backend."""
    return (
        f"`make bench BACKENDS=all` installs it; or name a Python that has it, {backend.upper()}_PYTHON=path/to/python."
    )


def python_with(backend: str) -> str | None:
    """A Python that has `backend`: this one, that named by JAX_PYTHON or TORCH_PYTHON, or that of `make test-jax`."""
    if importlib.util.find_spec(backend):
        return sys.executable
    named = os.environ.get(f"{backend.upper()}_PYTHON"), HERE.parent / f".venv-{backend}" / "bin" / "python"
    return next((str(path) for path in named if path and _has(str(path), backend)), None)


@functools.cache
def _has(python: str, backend: str) -> bool:
    """Whether another Python is there and has `backend`."""
    program = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({backend!r}))"
    return Path(python).exists() and subprocess.run([python, "-c", program], check=False).returncode == 0


def plan(rows: list[str], backends: list[str]) -> list[tuple[str, str]]:
    """Returns (row, backend) in the order of `ROWS`. Rows that need no backend run on the first one only."""
    chosen = [row for row in ROWS if row in (rows or ROWS)]
    return [(row, backend) for row in chosen for backend in (backends if row in ON_EACH_BACKEND else backends[:1])]


def chosen_backends(chosen: str) -> list[str]:
    """Returns the backends that BACKENDS names.

    Raises:
        ValueError: If one of them is unknown or not installed.
    """
    backends = list(BACKENDS) if chosen == "all" else chosen.split(",")
    if unknown := [name for name in backends if name not in BACKENDS]:
        raise ValueError(f"BACKENDS must be `all`, or some of {','.join(BACKENDS)}. Received: {','.join(unknown)}.")
    if missing := [name for name in backends if python_with(name) is None]:
        raise ValueError(
            f"Each of BACKENDS must be installed. Received: {','.join(missing)}, not found. {how_to_get(missing[0])}"
        )
    return backends


def run(row: str, backend: str) -> bool:
    """Runs one row in a process of its own; says whether it succeeded."""
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    start = time.perf_counter()
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths}
    done = subprocess.run([python_with(backend), str(HERE / f"{row}.py")], env=environment, check=False)
    state = "done" if done.returncode == 0 else f"FAILED with code {done.returncode}"
    logger.info("--- %s, %s: %s in %.0f s", row, backend, state, time.perf_counter() - start)
    return done.returncode == 0


def main(arguments: list[str] | None = None) -> int:
    """Runs the chosen rows; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="row", help="which; default: all")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        backends = chosen_backends(os.environ.get("BACKENDS") or "tensorflow")
    except ValueError as error:
        parser.error(str(error))
    start = time.perf_counter()
    succeeded = [run(row, backend) for row, backend in plan(options.rows, backends)]
    logger.info("--- all of it: %.0f s", time.perf_counter() - start)
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main())
