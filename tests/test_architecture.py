"""The map of the package as data, and other rules for the project as a whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gruvlike

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gruvlike"

# module -> modules of ours that its files may import: at the top, inside a function, or for types alone. docs/map.md
# shows the same to people.
ARROWS = {
    "_checks": set(),
    "_contracts": set(),
    "_files": set(),
    "_backend": set(),
    "_arrays": set(),
    "_fast": {"_backend"},
    "_step": {"_backend", "heads"},
    "_music": set(),
    "audio": set(),
    "rhythm": set(),
    "corpus": {"_music", "audio", "rhythm", "windows"},
    "windows": set(),
    "decoders": {"_arrays", "_music"},
    "encoders": {"_arrays", "decoders"},
    "normalizers": {"_arrays", "_backend", "_music"},
    "heads": {"_arrays"},
    "conditions": {"_arrays"},
    "models": {"_arrays", "_backend", "_fast", "_music", "_step", "conditions", "encoders", "heads", "normalizers"},
    "generation": {
        "_step",
        "audio",
        "conditions",
        "decoders",
        "encoders",
        "heads",
        "metrics",
        "models",
        "normalizers",
        "rhythm",
        "seeds",
    },
    "seeds": {"audio", "corpus"},
    "metrics": {"_music", "audio", "corpus", "rhythm"},
    "plots": set(),
    "tune": set(),
    "callbacks": {
        *("__version__", "_step", "audio", "conditions", "corpus", "decoders"),
        *("generation", "metrics", "models", "plots", "rhythm"),
    },
    "listening": {"__version__", "_music", "callbacks", "corpus", "generation", "metrics", "models", "plots"},
    "live": set(),
    "recipes": {"conditions", "corpus", "encoders", "heads", "models", "normalizers", "windows"},
    "gruv2015": {"audio", "encoders", "normalizers", "models", "generation"},
}
LEAVES = {"_checks", "_contracts", "_files"}  # everybody may import them
# These may import everything, and nobody imports them but one another.
TOP = {"cli", "demo", "__main__"}
# A backend is imported where its own operations are used; everything else is written once, for Keras.
BACKENDS = {"tensorflow", "jax", "torch"}
KNOWS_BACKENDS = {"_backend", "_fast", "_step"}
WRITES_TENSORBOARD = {"callbacks/_previews.py"}


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def names_of(tree):
    """Yields (module, name) of each import of a file, wherever it stands; `name` is None for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def files_of(tree):
    """Yields the dotted names of our files that a file imports; `import gruvlike as gl` counts by the names it uses."""
    for module, name in names_of(tree):
        if module == "gruvlike" and name is None:
            used = {
                n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "gl"
            }
            for one in used:
                home = gruvlike._HOME.get(one, one)
                yield f"gruvlike.{home}" if home in gruvlike._PUBLIC else "gruvlike"
        elif module.split(".")[0] == "gruvlike":
            inner = f"{module}.{name}"
            path = ROOT.joinpath(*inner.split("."))
            is_file = path.with_suffix(".py").is_file() or path.is_dir()
            yield inner if name is not None and is_file else module


def arrows():
    """The imports between rooms: {module: modules}."""
    found = {}
    for home, targets in file_arrows().items():
        if home != "gruvlike":
            found.setdefault(home.split(".")[1], set()).update(t.split(".")[1] for t in targets if t != "gruvlike")
    return {home: targets - {home} for home, targets in found.items()}


def file_arrows():
    """The imports between files: {dotted name: dotted names}. The lazy table of `gruvlike` itself is none."""
    found = {}
    for path in sources():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = set(files_of(ast.parse(path.read_text("utf-8")))) if name != "gruvlike" else set()
    return found


def cycle_in(graph):
    """Returns a cycle of a graph as a list of names, or None."""
    done = set()

    def visit(home, path):
        if home in path:
            return [*path[path.index(home) :], home]
        if home in done:
            return None
        found = next(filter(None, (visit(target, [*path, home]) for target in sorted(graph.get(home, ())))), None)
        done.add(home)
        return found

    return next(filter(None, (visit(home, []) for home in sorted(graph))), None)


def test_no_arrow_that_is_not_on_the_map():
    wrong = [
        f"{home} -> {target}"
        for home, targets in arrows().items()
        if home not in TOP
        for target in targets - LEAVES - ARROWS.get(home, set())
    ]
    assert not wrong, f"not on the map (ARROWS): {wrong}"


def test_the_map_lists_only_rooms_that_exist_and_arrows_that_are_drawn():
    found = arrows()
    assert set(ARROWS) == set(found) - TOP - {"__main__"}
    drawn = {home: targets - LEAVES for home, targets in found.items() if home in ARROWS}
    assert {
        home: targets - drawn[home] for home, targets in ARROWS.items() if targets - drawn[home] - {"__version__"}
    } == {}


def test_nobody_imports_the_top():
    wrong = [f"{home} -> {t}" for home, targets in arrows().items() for t in targets & TOP if home not in TOP]
    assert not wrong


def test_no_cycle_between_files():
    assert cycle_in(file_arrows()) is None
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]  # the control


def test_no_cycle_between_rooms():
    assert cycle_in(arrows()) is None


def test_a_backend_is_imported_only_where_its_operations_are_used():
    wrong = [
        str(path.relative_to(PACKAGE))
        for path in sources()
        if module_of(path) not in KNOWS_BACKENDS and path.relative_to(PACKAGE).as_posix() not in WRITES_TENSORBOARD
        if any(module.split(".")[0] in BACKENDS for module, _ in names_of(ast.parse(path.read_text("utf-8"))))
    ]
    assert not wrong


def test_imports_are_found_wherever_they_stand():
    """The control: all forms of import that the map has to see."""
    text = """
from gruvlike import audio, corpus as c
from gruvlike.encoders._base import Encoder
from gruvlike.corpus import Corpus
import gruvlike.models
def f():
    import gruvlike as gl
    gl.Windows, gl.tune
if TYPE_CHECKING:
    from gruvlike import metrics
"""
    names = {"audio", "corpus", "encoders._base", "models", "windows", "tune", "metrics"}
    assert set(files_of(ast.parse(text))) == {f"gruvlike.{name}" for name in names}


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


@pytest.mark.parametrize("module", ["audio", "corpus", "live", "plots", "rhythm", "seeds", "tune"])
def test_works_without_keras(module):
    code = f"import sys, gruvlike; gruvlike.{module}; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "none.h5", "run", "--minutes", "-1"]])
def test_help_and_mistakes_take_less_than_a_second(words):
    code = f"""
import sys; from gruvlike import cli
try: cli.main({words})
except SystemExit: pass
assert not {{"keras", "tensorflow", "librosa"}} & set(sys.modules)
"""
    assert fastest(code) < 1


def test_nobody_but_the_top_imports_recipes():
    assert {home for home, targets in arrows().items() if "recipes" in targets} <= TOP


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
    assert all(
        (tmp_path / "site/gruvlike" / name).is_file()
        for name in ("py.typed", "__init__.pyi", "listening/page/page.html")
    )
    code = "import gruvlike, sys; print(gruvlike.__file__, len(gruvlike.tune.compose(1)), gruvlike.encoders.get)"
    # -P and the site folder in front: neither the checkout nor an editable install may stand in.
    output = python("-P", "-c", f"import sys; sys.path.insert(0, 'site'); {code}", cwd=tmp_path)
    assert "16000" in output
    assert str(ROOT) not in output
