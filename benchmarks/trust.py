"""Damaged and forged files by the thousand, each tried in a process with limits: the table of docs/trust.md.

    python benchmarks/trust.py [--sounds 10000] [--corpora 1500] [--models 850] [--runs 76]

It can be stopped and started again: it goes on, as long as the code that it judges has not changed. Files that
were found stay in the folder; `python tests/_fuzz.py TARGET --start NUMBER --count 1` tries one of them again.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

from _page import machine, table, write_block
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import _fuzz  # noqa: E402  (the folder of tests is no package)

COUNTS = {"sounds": 10_000, "corpora": 1500, "models": 850, "runs": 76}
# The modules that reading takes; models and run folders take the whole package.
USED = {
    "sounds": ("_checks", "_files", "audio"),
    "corpora": ("_checks", "_contracts", "_files", "_music", "audio", "corpus", "rhythm", "windows"),
}
HELPERS = {"sounds": ["sounds"], "corpora": ["corpora"], "models": [], "runs": ["fuzz_models"]}
NAMES = {"sounds": "sound files", "corpora": "corpora", "models": "models", "runs": "run folders"}


def fingerprint(name: str) -> str:
    """Returns a name of the code that is judged: of all files that a target uses, and of the fuzz."""
    package = ROOT / "gruvlike"
    used = [path for one in USED.get(name, [""]) for path in [package / f"{one}.py", *(package / one).rglob("*.py")]]
    fuzz = [ROOT / "tests" / f"_{one}.py" for one in ("fuzz", f"fuzz_{name}", *HELPERS[name])]
    files = [*sorted(path for path in used if path.is_file()), *fuzz]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def cases_of(name: str, count: int, folder: Path) -> list[_fuzz.Case]:
    """Tries the files that have not been tried yet, and returns the cases of all."""
    done = folder / f"{name}-{fingerprint(name)}.jsonl"
    lines = done.read_text().splitlines() if done.exists() else []
    cases = [_fuzz.Case(*json.loads(line)) for line in lines if line.endswith("]")]  # a kill cuts the last line short
    done.write_text("".join(f"{json.dumps(case)}\n" for case in cases))
    left = sorted(set(range(count)) - {case.number for case in cases})
    with done.open("a") as file, tqdm(desc=name, total=count, initial=len(cases), unit=" files", disable=None) as bar:
        for case in _fuzz.Fuzz(name, folder).cases(left) if left else ():
            print(json.dumps(case), file=file, flush=True)
            cases.append(case)
            bar.update()
    return [case for case in cases if case.number < count]


def row(name: str, cases: list[_fuzz.Case]) -> list[str]:
    """Returns a row of the table."""
    verdicts = Counter(case.verdict for case in cases)
    figures = [f"{verdicts[key]:,}" for key in (*_fuzz.GOOD, *_fuzz.FAULTS)]
    slowest, most = max(case.seconds for case in cases), max(case.megabytes for case in cases)
    return [NAMES[name], f"{len(cases):,}", *figures, f"{slowest:.1f} s", f"{most} MB"]


def main(arguments: list[str] | None = None) -> int:
    """Tries, and writes the table; returns the exit code: 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help=f"default: {count}")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "trust")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    counts = {name: vars(options)[name] for name in COUNTS if vars(options)[name] > 0}
    cases = {name: cases_of(name, count, options.folder) for name, count in counts.items()}
    header = ["what", "tried", *_fuzz.GOOD.values(), *_fuzz.FAULTS.values(), "slowest", "most memory of a process"]
    figures = table(header, [row(name, found) for name, found in cases.items()])
    write_block("trust.md", "fuzz", f"`python benchmarks/trust.py`; {machine()}.\n\n{figures}")
    faults = [case for found in cases.values() for case in found if case.verdict in _fuzz.FAULTS]
    for case in faults:
        print(f"{case.name}: {case.verdict}: {case.why}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
