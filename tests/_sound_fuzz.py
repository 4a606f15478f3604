"""Mutated sound files, each read in a process with limits of time and memory, and what must not come of it.

`python tests/_sound_fuzz.py FOLDER COUNT SEED` tries COUNT files, and prints and keeps in FOLDER those that are found.
"""

import json
import random
import resource
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from _sounds import CODECS, ID3, RATE, SNDFILE, TAG, encode, music

SECONDS = 20  # a file that takes longer hangs
MEGABYTES = 1000
STRAY = 0.15  # seconds by which a length may differ without a word: a frame or two of the slowest format

KINDS = ("cut", "hole", "flip", "flips", "header", "noise", "insert", "delete", "double", "front", "behind", "sizes")


def mutated(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Returns a changed copy of a file."""
    size, new = len(data), bytearray(data)
    at, length = rng.randrange(size), rng.choice((100, 3000, 20_000))
    if kind == "cut":
        del new[max(at, 1) :]
    elif kind in ("hole", "noise"):
        old = new[at : at + length]
        new[at : at + length] = bytes(len(old)) if kind == "hole" else rng.randbytes(len(old))
    elif kind in ("flip", "flips"):
        for _ in range(1 if kind == "flip" else rng.choice((3, 30, 300))):
            new[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "header":
        for _ in range(rng.choice((1, 2, 5))):
            new[rng.randrange(min(size, 200))] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
    elif kind == "insert":
        new[at:at] = rng.randbytes(rng.choice((1, 2, 1000, 5000)))
    elif kind == "delete":
        del new[at : at + rng.choice((1, 2, 1000, 5000))]
    elif kind == "double":
        new[at:at] = new[at : at + length]
    elif kind == "front":
        new[:0] = rng.choice((bytes(1), bytes(5000), ID3, rng.randbytes(100), rng.randbytes(5000)))
    elif kind == "behind":
        new += rng.choice((bytes(1), bytes(50_000), TAG, rng.randbytes(100), rng.randbytes(5000)))
    elif kind == "sizes":
        at = rng.randrange(max(min(size - 8, 120), 1))
        number = rng.choice((0, 1, size, size // 2, 2 * size, 2**32 - 1, 2**31 - 1, size - 44))
        new[at : at + 4] = number.to_bytes(4, rng.choice(("little", "big")))
    return bytes(new)


def make_sounds(folder: Path, seconds: float = 2.0) -> list[Path]:
    """Writes a sound in each format."""
    from gruvlike import audio

    for suffix in SNDFILE:
        audio.write(folder / f"s.{suffix}", music(seconds), RATE)
    for name, codec in CODECS.items():
        encode(folder / name, *codec, seconds=seconds)
    return sorted(folder.iterdir())


class Reader:
    """A process that reads one file after the other, and is started again when it ends or is too slow."""

    def __init__(self):
        self.process = None

    def __call__(self, path: Path) -> dict:
        """Returns what came of reading `path`."""
        if self.process is None:
            command = [sys.executable, __file__, "--read"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        if not ready:
            self.process.kill()
        code, self.process = self.process.wait(), None
        return {"fault": f"the process ended with {code}" if ready else f"more than {SECONDS} s"}

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()


def read_all() -> None:
    """Reads the files whose names come in, and writes a line about each."""
    import logging

    import numpy as np

    from gruvlike import audio

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    words: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: words.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    for line in sys.stdin:
        path, start = line.rstrip("\n"), time.monotonic()
        words.clear()
        told: dict = {}
        try:
            samples = audio.read(path, RATE)
            told["size"] = samples.size
            if not np.isfinite(samples).all():
                told["fault"] = "samples that are no numbers"
        except (ValueError, OSError) as error:
            told["error"] = str(error)
        except BaseException as error:
            told["fault"] = f"{type(error).__name__}: {error}"
        told["word"] = any(path in word for word in words)
        told["seconds"] = time.monotonic() - start
        told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(told), flush=True)


def fault_of(told: dict, size: int, path: Path) -> str:
    """Returns what is wrong with the way a file was read, or "" if nothing is."""
    if "fault" in told:
        return told["fault"]
    if "error" in told and str(path) not in told["error"]:
        return f"the error does not name the file: {told['error']}"
    if told["megabytes"] > MEGABYTES:
        return f"{told['megabytes']} MB"
    if "size" in told and abs(told["size"] - size) > STRAY * RATE and not told["word"]:
        return f"{told['size'] / RATE:.2f} s instead of {size / RATE:.2f} s, without a word"
    return ""


# These bytes tell a rate, channels or a length to trim, once; others make another sound, and nothing denies it.
TRUSTED = {
    "s.mp3": range(200),
    "s.wv": range(32),
    "s.flac": range(18, 26),
    "s.au": range(12, 24),
    "s.aiff": range(20, 38),
    "s.caf": range(20, 52),
    "adpcm.wav": range(20, 60),
}


def is_trusted(name: str, before: bytes, after: bytes) -> bool:
    """Returns whether bytes were changed that nothing can deny."""
    if name == "s.amr":  # any byte begins a frame of AMR
        return True
    return any(before[at] != after[at] for at in TRUSTED.get(name, ()) if at < min(len(before), len(after)))


def run(folder: Path, count: int, seed: int) -> tuple[Counter, list[str]]:
    """Tries mutated files.

    Args:
        folder: Where the files are made; those that are found stay.
        count: How many to try.
        seed: The seed of the random numbers.

    Returns:
        How many were read, read with a word, and refused; and a line for each finding.
    """
    rng, reader = random.Random(seed), Reader()
    (folder / "sounds").mkdir()
    sounds = make_sounds(folder / "sounds")
    sizes = {path: reader(path)["size"] for path in sounds}
    counts, found = Counter(), []
    for number in range(count):
        sound, kind = sounds[number % len(sounds)], KINDS[number // len(sounds) % len(KINDS)]
        before = sound.read_bytes()
        after = mutated(before, kind, rng)
        path = folder / f"{seed}-{number}-{kind}-{sound.name}"
        path.write_bytes(after)
        told = reader(path)
        counts["refused" if "error" in told else "with a word" if told.get("word") else "read"] += 1
        fault = fault_of(told, sizes[sound], path)
        if fault and not (fault.endswith("without a word") and is_trusted(sound.name, before, after)):
            found.append(f"{path.name}: {fault}")
        else:
            path.unlink()
    reader.close()
    return counts, found


if __name__ == "__main__":
    if sys.argv[1:] == ["--read"]:
        read_all()
    else:
        print(*run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sep="\n")
