"""Damaged and forged model files, for `_fuzz`: loaded."""

import json
import random
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TOLERANCE = 0
RATE = 8000

# Values that stand where a setting was. Numbers of each size, and things that are no number.
ODD = (
    *(None, True, 0, -1, 1, 3, 2**16, 2**31, 2**40, 2**63, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "relu",
        "keras.layers",
        "../x",
        "\0",
        "é" * 300,
        [],
        {},
        [1],
        [[]],
        [None, None],
        {"class_name": "Dense"},
    ),
    *({"config": {}}, {"module": "os", "class_name": "system", "config": {}}, [0] * 1000),
)


def seeds(folder: Path) -> None:
    """Writes models of three kinds: without memory, with one, and with all that `gruvlike train` gives it."""
    import keras

    import gruvlike as gl

    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    plain = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(4), keras.layers.Dense(50)])
    _save(folder / "seed-plain.keras", gl.AudioModel(encoder, normalizer, plain, RATE), "sgd")
    encoder = gl.BlockDFT(20)
    normalizer = gl.Standardizer().fit(gl.tune.compose(1, RATE), encoder)
    stack = gl.recurrent_stack(encoder.features, units=(4, 4), dropout=0.1)
    _save(folder / "seed-stack.keras", gl.AudioModel(encoder, normalizer, stack, RATE), "adam")
    encoder = gl.LogSpectrum(frame_size=128, hop=64)
    normalizer = gl.normalizers.PrincipalComponents(4).fit(gl.tune.compose(2, RATE), encoder)
    head = gl.heads.Mixture(components=2)
    memory = {"clock": gl.Clock(), "lags": gl.Lags(beats=(1,)), "anchor": gl.Anchor(beats=2)}
    stack = gl.recurrent_stack(normalizer.width, cell="gru", units=(4,), head=head, **memory)
    _save(folder / "seed-full.keras", gl.AudioModel(encoder, normalizer, stack, RATE, head=head), "adam")


def _save(path: Path, model: Any, optimizer: str) -> None:
    model.compile(optimizer)
    model.save(path)


def members_of(path: Path) -> dict[str, bytes]:
    """Returns the members of an archive by their names."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Mapping[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> Path:
    """Writes an archive that is whole, whatever is in its members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_bytes(data: bytes, text: bool, random: random.Random) -> bytes:
    """Returns data of which some bytes are others; sometimes its end is missing."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 40))):
        changed[random.randrange(len(data))] = random.choice(b'0123456789[]{}",:-eN') if text else random.randrange(256)
    if random.random() < 0.2:
        del changed[random.randrange(len(data)) :]
    return bytes(changed)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (container, key) of each value in some JSON."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def with_values(text: bytes, random: random.Random) -> str:
    """Returns JSON of which some values are odd, missing, or stand elsewhere too."""
    value = json.loads(text)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        found = list(places(value))
        if not found:
            break
        inside, key = random.choice(found)
        action = random.randrange(6)
        if action == 0:
            del inside[key]
        elif action == 1:
            other, name = random.choice(found)
            inside[key] = json.loads(json.dumps(other[name]))
        else:
            inside[key] = random.choice(ODD)
    return json.dumps(value)


def damaged(path: Path, kind: int, random: random.Random) -> bytes | dict[str, bytes | str]:
    """Returns the bytes of a file with damage, or members of which one is not as it was."""
    if kind == 0:
        data = path.read_bytes()
        cut = random.randrange(300) if random.random() < 0.2 else 0
        return with_bytes(data[cut:], False, random)
    members = members_of(path)
    names = [name for name in members if name.endswith(".json" if kind < 3 else (".h5", ".npz"))]
    name = random.choice(names)
    if kind == 1:
        return {**members, name: with_values(members[name], random)}
    return {**members, name: with_bytes(members[name], kind == 2, random)}


def save(path: Path, data: bytes | dict[str, bytes | str]) -> None:
    """Writes what `damaged` returned."""
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        write(path, data)


def change(seed: Path, turn: int, random: random.Random, path: Path) -> None:
    """Writes a changed copy of a model: its bytes, its settings, the bytes of these, the bytes of its weights."""
    save(path, damaged(seed, turn % 4, random))


def attempt(path: Path, _folder: Path) -> dict[str, int]:
    """Loads a model."""
    import gruvlike as gl

    gl.load(path)
    return {}


def is_undeniable(_seed: Path, _path: Path) -> bool:
    """Returns whether bytes were changed that nothing can deny; a model has no length."""
    return False
