"""Mutated sound files of 26 formats, for `_fuzz`."""

import random
from pathlib import Path

from _sounds import CODECS, ID3, RATE, SNDFILE, TAG, encode, music

TOLERANCE = 0.15 * RATE  # samples by which a length may differ without a word: a frame or two of the slowest format

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


def seeds(folder: Path, seconds: float = 2.0) -> None:
    """Writes a sound in each format."""
    from gruvlike import audio

    for suffix in SNDFILE:
        audio.write(folder / f"seed.{suffix}", music(seconds), RATE)
    for name, codec in CODECS.items():
        encode(folder / f"seed-{name}", *codec, seconds=seconds)


def change(seed: Path, turn: int, random: random.Random, path: Path) -> None:
    """Writes a changed copy of a sound."""
    path.write_bytes(mutated(seed.read_bytes(), KINDS[turn % len(KINDS)], random))


def attempt(path: Path, _folder: Path) -> dict[str, int]:
    """Reads a sound, and returns its length."""
    import numpy as np

    from gruvlike import audio

    samples = audio.read(path, RATE)
    if not np.isfinite(samples).all():
        raise ArithmeticError("samples that are no numbers")
    return {"size": samples.size}


# These bytes tell a rate, channels or a length to trim, once; others make another sound, and nothing denies it.
TRUSTED = {
    "seed.mp3": range(200),
    "seed-s.wv": range(32),
    "seed.flac": range(18, 26),
    "seed.au": range(12, 24),
    "seed.aiff": range(20, 38),
    "seed.caf": range(20, 52),
    "seed-adpcm.wav": range(20, 60),
}


BARE = {"seed.mp3", "seed-s.aac", "seed-s.ac3", "seed-s.mp2", "seed-s.ts", "seed-mp3.wav", "seed-ac3.wav"}


def is_undeniable(seed: Path, path: Path) -> bool:
    """Returns whether bytes were changed that nothing can deny."""
    if seed.name == "seed-s.amr":  # any byte begins a frame of AMR
        return True
    before, after = seed.read_bytes(), path.read_bytes()
    more = after[len(before) :]
    if seed.name in BARE and more and after == before + before[-len(more) :]:  # sounds end to end are all read
        return True
    return any(before[at] != after[at] for at in TRUSTED.get(seed.name, ()) if at < min(len(before), len(after)))
