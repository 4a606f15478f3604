"""The public names and their signatures, as a golden file.

After a change that is meant: `python tests/test_public_surface.py`, and look at the difference before committing it.
"""

import difflib
import importlib
import inspect
from pathlib import Path

import gruvlike

GOLDEN = Path(__file__).with_name("public_surface.txt")


def signature(function):
    """Names, kinds and defaults; annotations are written differently from one Python to the next."""
    plain = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in plain.parameters.values()]
    return str(plain.replace(parameters=bare, return_annotation=plain.empty))


def public_names(module):
    ours = getattr(module, "__all__", None)
    if ours is None:
        ours = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return sorted(name for name in ours if not name.startswith("_"))


def describe(path, value):
    if inspect.isclass(value):
        yield f"{path}{signature(value)}"
        # What it inherits is listed at the class that has it, unless that is a private one of ours.
        private = [kind for kind in value.__mro__ if kind.__module__.startswith("gruvlike._")]
        members = {name for kind in (value, *private) for name in vars(kind)}
        for name in sorted(members):
            member = inspect.getattr_static(value, name)
            if name.startswith("_"):
                continue
            if isinstance(member, classmethod | staticmethod):
                yield f"{path}.{name}{signature(getattr(value, name))}"
            elif inspect.isfunction(member):
                yield f"{path}.{name}{signature(member)}"
            else:
                yield f"{path}.{name}"
    elif callable(value):
        yield f"{path}{signature(value)}"
    else:
        yield path


def surface():
    lines = []
    for module, names in gruvlike._PUBLIC.items():
        home = importlib.import_module(f"gruvlike.{module}")
        for name in public_names(home):
            lines += describe(f"gruvlike.{module}.{name}", getattr(home, name))
        lines += [f"gruvlike.{name} = gruvlike.{module}.{name}" for name in names]
    return "".join(f"{line}\n" for line in lines)


def test_public_surface_is_as_agreed():
    golden, now = GOLDEN.read_text("utf-8").splitlines(), surface().splitlines()
    difference = "\n".join(difflib.unified_diff(golden, now, "agreed", "now", lineterm="", n=0))
    assert golden == now, f"if this is meant: python tests/test_public_surface.py\n{difference}"


def test_every_name_at_the_top_can_be_reached():
    missing = [name for name in gruvlike.__all__ if not hasattr(gruvlike, name)]
    assert not missing
    assert set(gruvlike.__all__) <= set(dir(gruvlike))


def test_every_public_name_has_a_docstring():
    bare = []
    for module in gruvlike._PUBLIC:
        home = importlib.import_module(f"gruvlike.{module}")
        bare += [
            f"{module}.{name}"
            for name in public_names(home)
            if callable(getattr(home, name)) and not inspect.getdoc(getattr(home, name))
        ]
    assert not bare


if __name__ == "__main__":
    GOLDEN.write_text(surface(), "utf-8")
