"""The structure of a package in figures: sizes, imports between files, late attributes, types. Prints a table.

    python benchmarks/structure.py [FOLDER ...] [--list] [--settings FILE]

A FOLDER holds a package, of any checkout; the default is the gruvlike beside this script. Each folder gets a column.
The files are parsed, never imported, so another version of the package is measured in the same way.

Arrows lead from file to file. All forms of import count, also inside functions and under TYPE_CHECKING:
`from gruvlike.encoders import X` points at gruvlike/encoders/__init__.py, or at gruvlike/encoders/X.py if that exists.
`import gruvlike as gl` counts as arrows to the modules whose names the file uses (`gl.Corpus` -> corpus), not as one to
`__init__`. The table of lazy names in gruvlike/__init__.py is no arrow, and neither is its copy for type checkers: the
imports under TYPE_CHECKING in that one file. So cli and demo close no cycle through `__init__`.
"""

import argparse
import ast
import importlib.util
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare checkout: gruvlike is not installed

from _page import table

PACKAGE = Path(__file__).resolve().parents[1] / "gruvlike"
Function = ast.FunctionDef | ast.AsyncFunctionDef


class File(NamedTuple):
    """One parsed file."""

    path: Path
    lines: int
    tree: ast.Module


class Package(NamedTuple):
    """All files of a package by their dotted names. A package inside has the name of its folder."""

    folder: Path
    files: dict[str, File]

    @property
    def name(self) -> str:
        """The name that its imports begin with."""
        return self.folder.name


def read(folder: str | os.PathLike = PACKAGE) -> Package:
    """Parses each file of the package in `folder`, once.

    Raises:
        FileNotFoundError: If there is no `__init__.py`.
    """
    folder = Path(folder).resolve()
    if not (folder / "__init__.py").is_file():
        raise FileNotFoundError(f"A folder must hold a package, with __init__.py. Received: {str(folder)!r}.")
    files = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text("utf-8")
        files[name] = File(path, len(text.splitlines()), ast.parse(text))
    return Package(folder, files)


# --- sizes ------------------------------------------------------------------------------------------------------------


def body_lines(package: Package) -> list[int]:
    """The lines of the body of each function, inner ones and methods included, docstrings left out."""
    return [_body_lines(node) for node in _nodes(package, Function)]


def _body_lines(function: Function) -> int:
    body = function.body[ast.get_docstring(function, clean=False) is not None :]
    return function.end_lineno - body[0].lineno + 1 if body else 0


def biggest_class(package: Package) -> tuple[int, str]:
    """The lines of the biggest class, and its name."""
    return max(
        ((node.end_lineno - node.lineno + 1, node.name) for node in _nodes(package, ast.ClassDef)), default=(0, "")
    )


def private_rooms(package: Package) -> list[str]:
    """The modules and packages at the top whose names begin with one underscore."""
    rooms = {name.split(".")[1] for name in package.files if "." in name}
    return sorted(room for room in rooms if room.startswith("_") and not room.startswith("__"))


def twin_files(package: Package) -> list[str]:
    """The private files whose names stand in more than one folder, where a reader may take one for the other."""
    paths = [file.path.relative_to(package.folder) for file in package.files.values()]
    private = [path for path in paths if path.name.startswith("_") and not path.name.startswith("__")]
    names = [path.name for path in private]
    return sorted(path.as_posix() for path in private if names.count(path.name) > 1)


def _nodes(package: Package, kind: type | object) -> Iterator[ast.AST]:
    for file in package.files.values():
        yield from (node for node in ast.walk(file.tree) if isinstance(node, kind))


def _walk(node: ast.AST, skip: Callable[[ast.AST], bool]) -> Iterator[ast.AST]:
    """Yields a node and those below, but not those that are to be skipped, nor what is below them."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not skip(child):
            yield from _walk(child, skip)


# --- imports between files --------------------------------------------------------------------------------------------


def arrows(package: Package) -> dict[str, set[str]]:
    """The imports of each file: {dotted name: dotted names of files}."""
    return {name: _targets(package, name) - {name} for name in package.files}


def cycles(package: Package) -> list[list[str]]:
    """The groups of files that reach each other along arrows (the strongly connected components), largest first."""
    graph = arrows(package)
    reached = {name: _reached(graph, name) for name in graph}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted((sorted(group) for group in groups if group), key=lambda group: (-len(group), group))


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _targets(package: Package, name: str) -> set[str]:
    """The files that a file imports."""
    tree = package.files[name].tree
    table_for_types = _for_types(tree) if name == package.name else set()
    nodes = list(_walk(tree, table_for_types.__contains__))
    imported = list(_imports(package, name, nodes))
    # `import gruvlike as gl`, or `import gruvlike.models`: names of the package itself, used by their attributes.
    roots = {bound.split(".")[0] for bound, dotted in imported if package.name in (dotted, bound.split(".")[0])}
    dotted_names = [dotted for _, dotted in imported if dotted != package.name]
    dotted_names += [
        f"{package.name}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in roots
    ]
    return {file for dotted in dotted_names if (file := _file_of(package, dotted))}


def _for_types(tree: ast.Module) -> set[ast.AST]:
    """The statements that only type checkers read."""
    conditions = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    tests = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return {statement for node in conditions if ast.unparse(node.test) in tests for statement in node.body}


def _imports(package: Package, name: str, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yields (name in the file, full dotted name) for each name that a file imports."""
    parents = name.split(".") if package.files[name].path.stem == "__init__" else name.split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((alias.asname or alias.name, f"{module}.{alias.name}") for alias in node.names)


def _file_of(package: Package, dotted: str) -> str | None:
    """The file that a dotted name leads to: its longest beginning that is one; None if it leads out of the package."""
    parts = dotted.split(".")
    starts = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    found = next((start for start in starts if start in package.files), None)
    if found == package.name and dotted != found:
        return _lazy_names(package).get(parts[1], found)
    return found


def _lazy_names(package: Package) -> dict[str, str]:
    """The names that `__init__.py` of the package takes from its files: {name: file}.

    They are read from its imports for type checkers, and from a dictionary {module: names}.
    """
    nodes = list(ast.walk(package.files[package.name].tree))
    found = {bound: dotted.rpartition(".")[0] for bound, dotted in _imports(package, package.name, nodes)}
    for node in nodes:
        if isinstance(node, ast.Dict):
            for key, names in zip(node.keys, node.values, strict=True):
                home = f"{package.name}.{getattr(key, 'value', None)}"
                if isinstance(names, ast.Tuple | ast.List):
                    found |= {element.value: home for element in names.elts if isinstance(element, ast.Constant)}
    return {name: home for name, home in found.items() if home in package.files}


# --- attributes -------------------------------------------------------------------------------------------------------


class Attributes(NamedTuple):
    """The attributes of one class: declared in its body, set in `__init__`, set in its other methods."""

    declared: set[str]
    born: set[str]
    set_later: set[str]
    bases: list[str]


def late_attributes(package: Package) -> dict[str, list[str]]:
    """The attributes born outside `__init__`, of each class that has some: {dotted name of the class: names}.

    A name counts as born when the body or `__init__` of the class sets it, or of a base class within the package.
    """
    found = []
    for name, file in package.files.items():
        bound = dict(_imports(package, name, ast.walk(file.tree)))
        nodes = [node for node in ast.walk(file.tree) if isinstance(node, ast.ClassDef)]
        found += [(f"{name}.{node.name}", _attributes(package, name, node, bound)) for node in nodes]
    classes, late = dict(found), {}
    for name, one in found:  # Functions of one file may each have a class of the same name.
        late[name] = late.get(name, set()) | one.set_later - _known(classes, one)
    return {name: sorted(names) for name, names in late.items() if names}


def _known(classes: dict[str, Attributes], one: Attributes) -> set[str]:
    """The names that a class and its bases declare or set in `__init__`."""
    bases = [classes[base] for base in one.bases if classes.get(base, one) is not one]
    return one.declared.union(one.born, *(_known(classes, base) for base in bases))


def _attributes(package: Package, file: str, node: ast.ClassDef, bound: dict[str, str]) -> Attributes:
    declared: set[str] = set()
    born: set[str] = set()
    later: set[str] = set()
    for statement in node.body:
        if isinstance(statement, Function | ast.ClassDef):
            declared.add(statement.name)
        else:
            declared |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if isinstance(statement, Function):
            (born if statement.name == "__init__" else later).update(_set_on_self(statement))
    return Attributes(declared, born, later, [_class_of(package, file, base, bound) for base in node.bases])


def _set_on_self(method: Function) -> set[str]:
    """The names that a method sets on its first argument, in inner functions too, but not in inner classes."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    if not arguments or any(ast.unparse(one) in ("staticmethod", "classmethod") for one in method.decorator_list):
        return set()
    return {
        node.attr
        for node in _walk(method, lambda node: isinstance(node, ast.ClassDef))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == arguments[0].arg
    }


def _class_of(package: Package, file: str, base: ast.expr, bound: dict[str, str]) -> str:
    """The dotted name of a base class: of the file that defines the class, if the package does."""
    text = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
    first, _, rest = text.partition(".")
    if first not in bound:
        return f"{file}.{text}"
    dotted = f"{bound[first]}.{rest}".rstrip(".")
    home, name = _file_of(package, dotted), dotted.rpartition(".")[2]
    if home is None:
        return dotted
    # A package hands on the classes of its files.
    homes = [one for one in package.files if one == home or one.startswith(f"{home}.")]
    return next((f"{one}.{name}" for one in homes if _defines(package.files[one], name)), dotted)


def _defines(file: File, name: str) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in file.tree.body)


# --- types ------------------------------------------------------------------------------------------------------------


class AnnotatedArguments(NamedTuple):
    """How many arguments have an annotation, how many with Any somewhere in it, how many Any alone or `Any | None`."""

    all: int
    with_any: int
    bare: int

    @property
    def share(self) -> float:
        """The share with Any somewhere."""
        return self.with_any / max(self.all, 1)


def annotated_arguments(package: Package) -> AnnotatedArguments:
    """Counts annotated arguments, `*args` and `**kwargs` left out (`self` has no annotation)."""
    annotations = [
        argument.annotation
        for node in _nodes(package, Function)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.annotation and argument.arg not in ("self", "cls")
    ]
    texts = [ast.unparse(_unquoted(one)) for one in annotations]
    bare = sum(text.removeprefix("typing.") in ("Any", "Any | None", "Optional[Any]") for text in texts)
    return AnnotatedArguments(len(annotations), sum(_names_any(one) for one in annotations), bare)


def _names_any(annotation: ast.expr) -> bool:
    """Whether Any stands anywhere in an annotation, also inside quotes."""
    return any(
        "Any" in (getattr(node, "id", None), getattr(node, "attr", None))
        or (isinstance(node, ast.Constant) and _unquoted(node) is not node and _names_any(_unquoted(node)))
        for node in ast.walk(annotation)
    )


def _unquoted(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value, mode="eval").body
        except SyntaxError:  # a word of Literal["..."]
            return annotation
    return annotation


def complaints(package: Package, settings: str | os.PathLike | None = None) -> tuple[int, str] | None:
    """Runs mypy; returns the number of its errors and the name of the settings. None where mypy is not installed.

    Args:
        package: The package.
        settings: A file of settings. None takes those of the project, the folder around the package. Without any,
            mypy's defaults hold, and libraries without types are no errors.

    Raises:
        RuntimeError: If mypy cannot do its work.
    """
    if not importlib.util.find_spec("mypy"):
        return None
    root = package.folder.parent
    file = Path(settings).resolve() if settings else _settings_of(root)
    options = [f"--config-file={file}"] if file else ["--config-file=", "--ignore-missing-imports"]
    command = [sys.executable, "-m", "mypy", f"--cache-dir={os.devnull}", "--no-error-summary", *options, package.name]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"mypy ended with code {done.returncode}: {done.stdout}{done.stderr}")
    return sum(": error: " in line for line in done.stdout.splitlines()), file.name if file else "mypy's defaults"


def _settings_of(root: Path) -> Path | None:
    """The file with the project's settings of mypy."""
    sections = {"mypy.ini": "[mypy]", ".mypy.ini": "[mypy]", "pyproject.toml": "[tool.mypy]", "setup.cfg": "[mypy]"}
    files = ((root / name, section) for name, section in sections.items())
    return next((f for f, section in files if f.is_file() and section in f.read_text("utf-8").splitlines()), None)


# --- the table --------------------------------------------------------------------------------------------------------


def figures(package: Package, settings: str | os.PathLike | None = None) -> dict[str, str]:
    """All figures of a package as text."""
    files, bodies = list(package.files.values()), sorted(body_lines(package)) or [0]
    biggest = max(files, key=lambda file: file.lines)
    arguments, found = annotated_arguments(package), complaints(package, settings)
    lines = [file.lines for file in files]
    late = sum(map(len, late_attributes(package).values()))
    tenth = bodies[int(0.9 * len(bodies))]
    size, name = biggest_class(package)
    return {
        "files": f"{len(files)}",
        "lines": f"{sum(lines):,}",
        "lines of a file, median": f"{statistics.median(lines):g}",
        "lines of the biggest file": f"{biggest.lines} ({biggest.path.relative_to(package.folder).as_posix()})",
        "functions": f"{len(body_lines(package))}",
        "lines of a body, median / p90 / max": f"{statistics.median(bodies):g} / {tenth} / {bodies[-1]}",
        "lines of the biggest class": f"{size} ({name})",
        "arrows a file": f"{sum(map(len, arrows(package).values())) / len(files):.2f}",
        "cycles between files": ", ".join(f"{len(group)} files" for group in cycles(package)) or "0",
        "private rooms at the top": f"{len(private_rooms(package))}",
        "attributes born outside `__init__`": f"{late}",
        "private files with a twin": f"{len(twin_files(package))}",
        "annotated arguments": f"{arguments.all:,}",
        "of these, Any anywhere in the annotation": f"{arguments.with_any} ({100 * arguments.share:.1f} %)",
        "of these, Any alone or with None": f"{arguments.bare} ({100 * arguments.bare / max(arguments.all, 1):.1f} %)",
        "complaints of mypy": "-" if found is None else f"{found[0]} ({found[1]})",
    }


def details(package: Package) -> str:
    """The members behind the figures that should be zero or small, one line each; cycles are printed anyway."""
    lines = [f"born late: {name}: {', '.join(names)}" for name, names in late_attributes(package).items()]
    lines += [f"twin: {path}" for path in twin_files(package)]
    lines += [f"private room: {room}" for room in private_rooms(package)]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of a package; default: this gruvlike")
    parser.add_argument("--list", action="store_true", help="also print late attributes, twins and private rooms")
    parser.add_argument("--settings", metavar="FILE", help="settings of mypy for all folders; default: their own")
    options = parser.parse_args(arguments)
    names = options.folders or [PACKAGE.name]
    packages = [read(folder) for folder in options.folders or [PACKAGE]]
    columns = [figures(package, options.settings) for package in packages]
    print(table(("figure", *names), ([key, *(column[key] for column in columns)] for key in columns[0])))
    for name, package in zip(names, packages, strict=True):
        for group in cycles(package):
            print(f"\nA cycle in {name}: {', '.join(group)}")
        if options.list:
            print(f"\n{name}\n{details(package)}")


if __name__ == "__main__":
    main()
