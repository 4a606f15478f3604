"""Starting: the import, the command line's help, and the first generated second with a saved model, from a cold start.

python benchmarks/start.py
"""

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _measure import FULL, Row, in_turn, publish
from _networks import SMALL, Network

SONG = """
import sys
import numpy as np
import gruvlike as gl

generator = gl.Generator(sys.argv[1])
generator.extend(np.load(sys.argv[2]), seconds=1)
"""


def python(*arguments: str) -> None:
    """Runs a whole process of Python."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def measure(network: Network = SMALL, rounds: int = 5) -> tuple[list[Row], str]:
    """Measures whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        model, seed = Path(folder) / "run.keras", Path(folder) / "seed.npy"
        network.make_model().save(model)
        np.save(seed, np.zeros(network.make_encoder().span(20), "float32"))
        runs = {
            "python": ("-c", "pass"),
            "import": ("-c", "import gruvlike"),
            "help": ("-m", "gruvlike", "--help"),
            "keras": ("-c", "import keras"),
            "song": ("-c", SONG, str(model), str(seed)),
        }
        taken = in_turn({name: lambda run=run: python(*run) for name, run in runs.items()}, rounds)
    ms = {name: 1e3 * seconds for name, seconds in taken.items()}
    return [
        Row("`import gruvlike`; rival: `import keras`", ms["import"], ms["keras"], ms["python"], "ms"),
        Row("`gruvlike --help`; rival: `import keras`", ms["help"], ms["keras"], ms["python"], "ms"),
        Row("a saved model's first second of sound", taken["song"], None, taken["keras"], "s"),
    ], (
        f"Whole processes. Limits: a Python that does nothing; for the song `import keras`. "
        f"The model: {network.name}, backend {os.environ.get('KERAS_BACKEND', 'tensorflow')}."
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("start", *measure(rounds=9 if FULL else 5))


if __name__ == "__main__":
    main()
