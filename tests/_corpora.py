"""Small corpora, and processes that end where a test wants them to."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

from gruvlike import Corpus
from gruvlike.corpus import _file

ROOT = Path(__file__).resolve().parents[1]
RATE = 1000


def made(path, pcm, **changes):
    """Writes a corpus of some int16 arrays, and returns its path."""
    about = [
        {
            "name": f"{k}.wav",
            "source": f"/{k}.wav",
            "hash": f"{k:064x}",
            "peak": 0.5,
            "rms": 0.1,
            "clipped": 0,
            **changes,
        }
        for k in range(len(pcm))
    ]
    _file.write(path, RATE, 20.0, zip(about, pcm, strict=True))
    return path


def noise(count=2, size=5000, random_seed=0):
    """Returns int16 arrays of noise."""
    random = np.random.default_rng(random_seed)
    return [random.integers(-9000, 9000, size).astype("int16") for _ in range(count)]


def place_of(path, index=0):
    """Returns the first byte and the size in bytes of the PCM of a track."""
    track = Corpus(path)[index]
    return track._offset, 2 * len(track)


def flipped(path, place, bit=1):
    """Changes one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bit]))


def python(code, *arguments, cwd=None, timeout=600):
    """Runs Python code in a process of its own and returns its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Forks children that do a piece of work and are killed inside of it; one import of the package serves all of them.
# `begin` gets ready for the work: no kill comes before its end.
KILLING = """
import os, random, signal, sys, time
import gruvlike as gl

def begin():
    pass

def child(work):
    begun, tell = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            begin()
            os.write(tell, b"x")
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    os.read(begun, 1)
    os.close(begun)
    return pid, time.perf_counter()

def whole(work):
    pid, started = child(work)
    assert os.waitpid(pid, 0)[1] == 0, "the work itself fails"
    return time.perf_counter() - started

def killed(work, seconds):
    pid, _ = child(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

def kill_often(prepare, work, check, trials):
    usual = min((prepare(), whole(work))[1] for _ in range(min(trials, 2)))
    check(False)
    inside = 0
    for trial in range(10 * trials):
        prepare()
        if killed(work, random.uniform(0, usual)):
            inside += 1
        else:
            usual *= 0.8  # the work was done before: the machine had other work when it was timed
        check(True)
        whole(work)
        check(False)
        if inside == trials:
            break
    print("inside", inside)
"""


def killed(code, trials, folder, random_seed=0):
    """Runs `code` with functions `prepare`, `work`, `check(was_killed)`; kills the work so often before it is done."""
    text = "\n".join((KILLING, f"random.seed({random_seed})", textwrap.dedent(code)))
    output = python(f"{text}\nkill_often(prepare, work, check, {trials})\n", cwd=folder)
    assert output.split()[-1] == str(trials)
