"""Mutated corpus files, for `_fuzz`: opened, verified, and read in windows."""

import random
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

from _corpora import RATE, noise

TOLERANCE = 0


def mutated(data: bytes, random: random.Random) -> bytes:
    """Returns a corpus file with some damage: to bytes, to numbers, by what is missing, doubled or moved."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        place, size = random.randrange(len(data)), random.choice((1, 2, 4, 8, 40, 300))
        match random.randrange(7):
            case 0:
                data[place] ^= 1 << random.randrange(8)
            case 1:
                data[place : place + 8] = struct.pack("<Q", random.choice((0, 1, 255, 2**16, 2**32 - 1, 2**64 - 1)))
            case 2:
                del data[place : place + size]
            case 3:
                data[place:place] = random.randbytes(size)
            case 4:
                data[place : place + size] = bytes(size)
            case 5:
                other = random.randrange(len(data))
                data[place : place + size] = data[other : other + size]
            case 6:
                data[place : place + 8] = struct.pack("<Q", random.randrange(len(data)))
    return bytes(data[: random.randrange(len(data))] if random.random() < 0.1 else data)


def seed_file(path: Path, count: int = 12, size: int = 40) -> bytes:
    """Writes a corpus of some tracks, and returns its bytes."""
    from gruvlike.corpus import _file

    about = {"hash": "0" * 64, "peak": 0.5, "rms": 0.1, "clipped": 0, "source": "/music/a.wav"}
    beat = {"beat_seconds": 0.5, "phase_seconds": 0.1, "confidence": 0.9}
    tracks = (({"name": f"{k}.wav", **about, **beat}, one) for k, one in enumerate(noise(count, size)))
    _file.write(path, RATE, 20.0, tracks)
    return path.read_bytes()


def seeds(folder: Path) -> None:
    """Writes a corpus that is mostly headers, and one that is mostly music."""
    seed_file(folder / "seed-many.h5")
    seed_file(folder / "seed-long.h5", 2, 4000)


def change(seed: Path, _turn: int, random: random.Random, path: Path) -> None:
    """Writes a changed copy of a corpus."""
    path.write_bytes(mutated(seed.read_bytes(), random))


def attempt(path: Path, _folder: Path) -> dict[str, int]:
    """Reads all of a corpus, and returns its length and a checksum of its music."""
    import gruvlike as gl

    corpus = gl.Corpus(path)
    corpus.verify()
    encoder = SimpleNamespace(hop=10, span=lambda steps: 10 * steps)
    for _ in corpus.windows(encoder, steps=2, batch_size=4):
        pass
    return {"size": sum(map(len, corpus)), "sound": sum(zlib.crc32(track.pcm) for track in corpus)}


def is_undeniable(_seed: Path, _path: Path) -> bool:
    """Returns whether bytes were changed that nothing can deny: each part has a checksum."""
    return False
