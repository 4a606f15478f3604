"""Damaged files in great numbers: each is tried in a process with limits of time and memory, and judged.

A target is a module `_fuzz_NAME` with five names: `TOLERANCE`, `seeds(folder)`, `change(seed, turn, random, path)`,
`attempt(path, folder)` and `is_undeniable(before, after)`. File number N of a target is always the same one.

    python tests/_fuzz.py sounds corpora --minutes 10    # goes on from the number where the last call stopped
    python tests/_fuzz.py models --start 4711 --count 1  # tries one file again
"""

import argparse
import importlib
import itertools
import json
import logging
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("sounds", "corpora", "models", "runs")
SECONDS = 20  # of the processor; a file that takes longer hangs
_PATIENCE = 10  # times as many seconds by the clock, where the machine has other work, or the process waits
MEGABYTES = 1000
ADDRESSES = 12 << 30  # bytes: the libraries alone claim some, without ever filling them
START = 1_000_000  # of a fuzz without end; the table of docs/trust.md has the numbers before
BATCH = 40

GOOD = {"accepted": "accepted", "refused": "clean refusals"}
FAULTS = {
    "unnamed": "refusals without the file's name",
    "type": "wrong types",
    "crash": "crashes",
    "hang": f"hangs over {SECONDS} s",
    "memory": f"over {MEGABYTES / 1000:g} GB",
    "length": "accepted with another length without a word",
}


class Case(NamedTuple):
    """A file that was tried.

    Attributes:
        number: Its number.
        name: The name of the file or folder.
        verdict: A key of `GOOD` or `FAULTS`.
        why: The message, where there is one.
        seconds: How long it took the processor.
        megabytes: The most memory of the process so far.
    """

    number: int
    name: str
    verdict: str
    why: str
    seconds: float
    megabytes: int


def target_of(name: str) -> ModuleType:
    """Returns the module of a target."""
    return importlib.import_module(f"_fuzz_{name}")


def _most_memory() -> int:
    """Returns the most memory of this process so far, in kB; `ru_maxrss` would begin with that of the parent."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Worker:
    """A process that tries one file after the other, and is started again when it ends or is too slow."""

    def __init__(self, name: str, folder: Path, seconds: float = SECONDS):
        self.command = [sys.executable, __file__, name, "--try", str(folder)]
        self.seconds = seconds
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> dict[str, Any]:
        """Returns what came of `path`: `{"fault": ...}` if it took the process with it."""
        if self.process is None:
            self.process = self._started()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        ready = self._answers(self.process)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        if not ready:
            self.process.kill()
        code = self.close()
        return {"crash": f"the process ended with {code}"} if ready else {"hang": f"more than {self.seconds:g} s"}

    def _answers(self, process: "subprocess.Popen[str]") -> bool:
        """Waits for an answer or an end; time counts that the processor had for the process, as far as that goes."""
        before = _worked(process)
        for _ in range(_PATIENCE):
            if select.select([process.stdout], [], [], self.seconds)[0]:
                return True
            if _worked(process) - before > self.seconds:
                break
        return False

    def _started(self) -> subprocess.Popen[str]:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
        environment = {**threads, **quiet, **os.environ, "PYTHONPATH": paths}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(self.command, env=environment, text=True, **pipes)
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"The process cannot begin: {' '.join(self.command)}")
        return process

    def close(self) -> int:
        """Ends the process and returns its exit code."""
        if self.process is None:
            return 0
        self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        self.process = None
        return code


def _worked(process: "subprocess.Popen[str]") -> float:
    """Returns the seconds of processor time that a process has had."""
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def serve(name: str, folder: Path) -> None:
    """Tries the files whose names come in, and writes a line about each: the process of a `Worker`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    attempt = target_of(name).attempt
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    words: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    with tempfile.TemporaryDirectory() as warm:  # to import and to compile takes no time of the first file
        seed = min(folder.glob("seed*"))
        _copy(seed, Path(warm, seed.name))
        attempt(Path(warm, seed.name), folder)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        path, start = line.rstrip("\n"), time.process_time()
        words.clear()
        told: dict[str, Any] = {}
        try:
            told.update(attempt(Path(path), folder))
        except (ValueError, OSError) as error:
            told["error"] = str(error)
        except BaseException as error:
            told["type"] = f"{type(error).__name__}: {error}"
        told["word"] = any(path in word for word in words)
        told["seconds"] = time.process_time() - start
        told["megabytes"] = _most_memory() // 1024
        print(json.dumps(told), file=answers, flush=True)


def judged(told: dict[str, Any], honest: dict[str, Any], path: Path, tolerance: float) -> tuple[str, str]:
    """Returns the verdict on the way a file was taken, and the reason.

    Args:
        told: What came of the file.
        honest: What came of the file that it was made of.
        path: The file.
        tolerance: By how much a length may differ without a word.
    """
    for verdict in ("crash", "hang", "type"):
        if verdict in told:
            return verdict, told[verdict]
    if "error" in told and str(path) not in told["error"]:
        return "unnamed", told["error"]
    if told["megabytes"] > MEGABYTES:
        return "memory", f"{told['megabytes']} MB"
    if "error" in told:
        return "refused", told["error"]
    size, before = told.get("size", 0), honest.get("size", 0)
    if not told["word"] and (abs(size - before) > tolerance or told.get("sound") != honest.get("sound")):
        return "length", f"{size} samples instead of {before}, without a word"
    return "accepted", ""


class Fuzz:
    """The damaged files of one target, in a folder: the seeds, and the files that were found."""

    def __init__(self, name: str, folder: Path, workers: int = 2):
        self.name, self.folder, self.workers = name, folder, workers
        self._target, self._own, self._all = target_of(name), threading.local(), list[Worker]()
        self._seeds = self.folder / "seeds" / name
        whole = self._seeds / "whole"  # a run names the path of its corpus: the folder cannot be renamed at the end
        if not whole.exists():
            shutil.rmtree(self._seeds, ignore_errors=True)
            self._seeds.mkdir(parents=True)
            self._target.seeds(self._seeds)
            whole.touch()
        self._honest = self._tell_honest()

    def _tell_honest(self) -> dict[Path, dict[str, Any]]:
        found = {}
        for seed in sorted(self._seeds.glob("seed*")):
            path = self.folder / f"honest-{seed.name}"
            _copy(seed, path)
            found[seed] = told = self._worker()(path)
            if judged(told, told, path, 0)[0] != "accepted":
                raise RuntimeError(f"The honest {seed} must be accepted. Received: {told}.")
            _remove(path)
        self.close()
        return found

    def _worker(self) -> Worker:
        if not hasattr(self._own, "worker"):
            self._own.worker = Worker(self.name, self._seeds)
            self._all.append(self._own.worker)
        return self._own.worker

    def try_one(self, number: int) -> Case:
        """Makes, tries and judges the file of this number; it stays if it is found."""
        seeds = list(self._honest)
        seed, turn = seeds[number % len(seeds)], number // len(seeds)
        path = self.folder / f"{number}-{seed.name}"

        def told() -> dict[str, Any]:
            _remove(path)
            self._target.change(seed, turn, random.Random(f"{self.name} {number}"), path)
            return self._worker()(path)

        found = told()
        if found.get("megabytes", 0) > MEGABYTES:  # files before it left some: a new process tells its own
            self._worker().close()
            found = told()
        verdict, why = judged(found, self._honest[seed], path, self._target.TOLERANCE)
        if verdict == "length" and self._target.is_undeniable(seed, path):
            verdict, why = "accepted", ""
        if verdict in GOOD:
            _remove(path)
        return Case(number, path.name, verdict, why, found.get("seconds", SECONDS), found.get("megabytes", 0))

    def cases(self, numbers: Iterable[int], go_on: Callable[[], bool] = lambda: True) -> Iterator[Case]:
        """Yields the cases of these numbers, as they come, while `go_on` says so."""
        numbers = iter(numbers)
        try:
            with ThreadPool(self.workers) as pool:
                while go_on() and (batch := list(itertools.islice(numbers, BATCH))):
                    yield from pool.imap_unordered(self.try_one, batch)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._all:
            worker.close()
        self._all.clear()
        self._own = threading.local()


def _copy(seed: Path, path: Path) -> None:
    if seed.is_dir():
        shutil.copytree(seed, path, dirs_exist_ok=True)
    else:
        shutil.copy(seed, path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def for_minutes(name: str, folder: Path, minutes: float, start: int) -> list[Case]:
    """Tries files for some minutes, shows the progress, and returns the cases."""
    from tqdm import tqdm

    end = time.monotonic() + 60 * minutes
    with tqdm(desc=name, unit=" files", disable=None) as bar:
        found = []
        for case in Fuzz(name, folder).cases(itertools.count(start), lambda: time.monotonic() < end):
            found.append(case)
            bar.update()
            (folder / f"{name}.next").write_text(str(max(case.number for case in found) + 1))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Fuzzes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="target", help=f"default: {' '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target")
    parser.add_argument("--start", type=int, help="the first number; default: the one after the last call's")
    parser.add_argument("--count", type=int, help="try so many files, however long it takes")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz", help="files that are found stay there")
    parser.add_argument("--try", dest="seeds", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.seeds:
        serve(options.targets[0], options.seeds)
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    odd = 0
    for name in options.targets:
        last = options.folder / f"{name}.next"
        start = options.start if options.start is not None else int(last.read_text()) if last.exists() else START
        if options.count:
            cases = list(Fuzz(name, options.folder).cases(range(start, start + options.count)))
        else:
            cases = for_minutes(name, options.folder, options.minutes, start)
        faults = [case for case in cases if case.verdict in FAULTS]
        odd += len(faults)
        print(f"{name} from number {start}: {len(cases)} tried, {len(faults)} found in {options.folder}")
        for case in faults if not options.count else cases:
            print(f"  {case.name}: {case.verdict}: {case.why}")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
