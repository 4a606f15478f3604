"""The map of the package as data, and what else holds for the project as a whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gruvlike

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gruvlike"

# module -> modules of ours that it may import, at the top or inside a function. docs/map.md shows the same to people.
ARROWS = {
    "_checks": set(),
    "_layers": set(),
    "_console": set(),
    "_gates": set(),
    "_projections": {"_layers", "_recurrence", "_torch_layers"},
    "_recurrence": set(),
    "_torch_layers": set(),
    "_twin": set(),
    "_updates": {"_layers"},
    "audio": set(),
    "corpus": {"audio", "windows"},
    "windows": set(),
    "encoders": {"_layers"},
    "normalizers": {"_layers"},
    "heads": set(),
    "models": {"_gates", "_projections", "_twin", "_updates", "heads", "encoders", "normalizers"},
    "seeds": set(),
    "generation": {"_layers", "_twin", "audio", "models"},
    "metrics": {"audio", "corpus"},
    "plots": set(),
    "tune": set(),
    "callbacks": {"__version__", "audio", "generation", "metrics", "models", "plots"},
    "gruv2015": {"_gates", "audio", "encoders", "normalizers", "models", "generation"},
    "_training": {"_console", "callbacks"},
}
LEAVES = {"_checks"}  # everybody may import them
# These may import everything, and nobody imports them but one another.
TOP = {"recipes", "report", "cli", "demo", "_doctor", "__main__"}


def sources():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree, package="gruvlike"):
    """Modules of ours that a file in `package` imports when it runs, those inside functions included."""
    typing_only = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    skipped = {inner for block in typing_only for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [above, node.module]))
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "gruvlike" else [base]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "gruvlike":
                yield rest.split(".")[0] or "gruvlike"


def arrows():
    found = {}
    for path in sources():
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        found.setdefault(module_of(path), set()).update(imports_of(ast.parse(path.read_text("utf-8")), package))
    return {home: targets - {home} for home, targets in found.items()}


def test_no_arrow_that_is_not_on_the_map():
    wrong = [
        f"{home} -> {target}"
        for home, targets in arrows().items()
        if home not in TOP
        for target in targets - LEAVES - ARROWS.get(home, set())
    ]
    assert not wrong, f"not on the map (ARROWS): {wrong}"


def test_nobody_imports_the_top():
    wrong = [f"{home} -> {t}" for home, targets in arrows().items() for t in targets & TOP if home not in TOP]
    assert not wrong


def test_no_cycle():
    graph = arrows()

    def visit(home, path):
        assert home not in path, f"a cycle: {' -> '.join([*path, home])}"
        for target in graph.get(home, ()):
            visit(target, [*path, home])

    for home in graph:
        visit(home, [])


def test_imports_are_found_wherever_they_stand():
    """The control: all forms of import that the map has to see."""
    text = """
from gruvlike import audio, corpus as c
from gruvlike.encoders._base import Encoder
from ._private import x
from . import _other
from ..windows import Windows
from .. import tune
import gruvlike.models
def f():
    import gruvlike as gl
if TYPE_CHECKING:
    from gruvlike import metrics
"""
    found = {"audio", "corpus", "encoders", "plots", "windows", "tune", "models", "gruvlike"}
    assert set(imports_of(ast.parse(text), "gruvlike.plots")) == found
    assert set(imports_of(ast.parse("from ._checks import x\nfrom . import audio"), "gruvlike")) == {"_checks", "audio"}


def test_the_map_has_no_module_that_is_unknown():
    assert set(gruvlike._PUBLIC) <= set(ARROWS)
    page = (ROOT / "docs/map.md").read_text("utf-8")
    missing = [name for name in gruvlike._PUBLIC if f"| `{name}` |" not in page]
    assert not missing, f"docs/map.md does not show {missing}"
    assert [name for name in gruvlike._PUBLIC if f"`{name}`" not in gruvlike.__doc__] == []


def all_python():
    folders = [PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"]
    return [path for folder in folders for path in folder.rglob("*.py")]


def test_files_have_at_most_500_lines():
    long = {str(p.relative_to(ROOT)): n for p in all_python() if (n := len(p.read_text("utf-8").splitlines())) > 500}
    assert not long


def test_library_has_no_assert_no_print_and_no_long_function():
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Assert):
                wrong.append(f"{where} assert")
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print":
                wrong.append(f"{where} print")
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                if node.end_lineno - body[0].lineno + 1 > 50:
                    wrong.append(f"{where} {node.name} has more than 50 lines")
    assert not wrong


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_path_of_a_machine_in_tracked_files():
    pattern = re.compile(r"(?<![\w.])/(work|root|home/\w+|tmp/env|Users/\w+)/")
    wrong = []
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".ipynb", ".txt", ""}:
            for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
                if pattern.search(line):
                    wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong


def test_nothing_large_is_tracked():
    assert [path for path in tracked() if path.stat().st_size > 1_000_000] == []


def fastest(code, runs=4):
    """Seconds that the fastest of some fresh Pythons reports for `code`."""
    timed = f"import time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
    outputs = [subprocess.check_output([sys.executable, "-c", timed], cwd=ROOT, text=True) for _ in range(runs)]
    return min(float(output.splitlines()[-1]) for output in outputs)


def test_import_takes_milliseconds():
    assert fastest("import gruvlike") < 0.15


def test_import_brings_nothing_heavy():
    code = "import sys, gruvlike; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert "gruvlike" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "librosa", "h5py", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("module", ["audio", "corpus", "plots", "tune"])
def test_works_without_keras(module):
    code = f"import sys, gruvlike; gruvlike.{module}; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_help_takes_less_than_a_second():
    code = """
import sys; from gruvlike import cli
try: cli.main(["--help"])
except SystemExit: pass
assert not {"keras", "tensorflow", "librosa"} & set(sys.modules)
"""
    assert fastest(code) < 1


@pytest.mark.slow
def test_sdist_and_wheel_work_from_another_folder(tmp_path):
    """The wheel is built from the sdist, so that both are whole."""

    def python(*arguments, **options):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python("-m", "build", "--outdir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"), str(wheel))
    assert (tmp_path / "site/gruvlike/py.typed").is_file()
    code = "import gruvlike, sys; print(gruvlike.__file__, len(gruvlike.tune.compose(1)), gruvlike.encoders.get)"
    # -P and the site folder in front: neither the checkout nor an editable install may stand in.
    output = python("-P", "-c", f"import sys; sys.path.insert(0, 'site'); {code}", cwd=tmp_path)
    assert "16000" in output
    assert str(ROOT) not in output
