"""Functions of all scripts here: they write figures, with their machine, into marked blocks of the pages in docs/."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from gruvlike._files import replacing

DOCS = Path(__file__).resolve().parents[1] / "docs"
_PACKAGES = ["keras", "tensorflow", "jax", "torch", "numpy", "scipy", "h5py", "soundfile", "soxr", "librosa"]


def write_block(page: str, name: str, text: str) -> None:
    """Replaces the block `name` of docs/`page`, between its two marks; without marks it is added at the end."""
    path = DOCS / page
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    head, rest = old.split(begin, 1)
    tail = rest.split(end, 1)[1]
    with replacing(path) as temporary:
        temporary.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}", encoding="utf-8")


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """One line: the processor, its memory, the versions, and the day."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kilobytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")]
    memory = f"{kilobytes[0] / 2**20:.0f} GB of memory, " if kilobytes else ""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES if _version(name))
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory}"
        f"Python {platform.python_version()}, {versions}, {datetime.date.today()}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
