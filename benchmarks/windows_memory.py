"""Anonymous memory of windows over a corpus of 1 and of 100 hours (a sparse file), hop 1 sample, in random order.

The page cache of the mapped file does not count: the system takes it back when it needs it. Linux only.

    python benchmarks/windows_memory.py
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

from gruvlike.corpus import Corpus, _file

RATE = 16_000


def sparse_corpus(path: Path, hours: int) -> Corpus:
    """A corpus of tracks of six minutes that hold nothing and take no space on the disk."""
    with h5py.File(path, "w") as h5:
        h5.attrs.update(format=_file.FORMAT, format_version=_file.VERSION, sample_rate=RATE, high_pass_hz=20.0)
        group = h5.create_group("tracks")
        for index in range(10 * hours):
            about = {"name": f"{index}", "source": f"{index}", "hash": f"{index}"}
            _file.allocate(group, index, 360 * RATE, {**about, "peak": 1.0, "rms": 0.1, "clipped": 0})
    return Corpus(path)


def measure(hours: int, batches: int) -> str:
    """A row of the table, measured in this process."""
    from gruvlike.windows import Windows

    with tempfile.TemporaryDirectory() as folder:
        windows = Windows(sparse_corpus(Path(folder) / "sparse.h5", hours), span=41 * 4000, hop=1, batch_size=32)
        start = time.perf_counter()
        for index in range(batches):
            windows[index * (len(windows) // batches)]
        each = (time.perf_counter() - start) / batches
        return f"| {hours} hours | {anonymous_mb():.1f} | {len(windows):,} | {each * 1e3:.1f} |"


def anonymous_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("the system does not tell RssAnon")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--hours", type=int, help="measure one size in this process")
    options = parser.parse_args()
    if options.hours:
        print(measure(options.hours, options.batches))
        return
    print("| corpus | anonymous MB | batches | ms a batch of 32 |\n|---|---|---|---|", flush=True)
    for hours in ("1", "100"):
        command = [sys.executable, __file__, "--hours", hours, "--batches", str(options.batches)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
