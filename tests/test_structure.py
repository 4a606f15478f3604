"""The figures of benchmarks/structure.py, on a tiny package, and the limits of our own package."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def structure(bench):
    return bench("structure")


@pytest.fixture
def band(structure, tmp_path):
    """Writes files of a package `band`, by their paths, and reads them."""

    def make(**files):
        for name, text in {"__init__": "", **files}.items():
            path = tmp_path / "band" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            (path.parent / "__init__.py").touch()
        return structure.read(tmp_path / "band")

    return make


def only_file(text):
    return {"song": text}


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_files_and_lines_are_counted_and_folders_are_packages(band):
    package = band(audio="a = 1\nb = 2\n", **{"encoders/_base": "c = 3\n"})
    lines = {name: file.lines for name, file in package.files.items()}
    assert lines == {"band": 0, "band.audio": 2, "band.encoders": 0, "band.encoders._base": 1}


def test_a_folder_without_a_package_is_refused(structure, tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a package"):
        structure.read(tmp_path)


def test_a_body_is_counted_without_its_docstring(structure, band):
    text = '''
class Drum:
    def beat(self):
        """Two lines
        of docstring."""
        first = 1

        return first

    def rest(self): """Nothing but a docstring."""

async def play():
    def inner(): return 1
    return inner
'''
    package = band(**only_file(text))
    assert sorted(structure.body_lines(package)) == [0, 1, 2, 3]
    assert structure.biggest_class(package) == (9, "Drum")


def test_private_rooms_are_those_at_the_top(structure, band):
    package = band(_files="", __main__="", audio="", **{"_step/_loops": "", "models/_file": ""})
    assert structure.private_rooms(package) == ["_files", "_step"]


def test_private_files_of_one_name_are_twins(structure, band):
    package = band(_arrays="", **{"models/_file": "", "corpus/_file": "", "corpus/names": "", "models/names": ""})
    assert structure.twin_files(package) == ["corpus/_file.py", "models/_file.py"]
    assert structure.twin_files(band(**{"_step/_arrays": ""})) == [
        "_arrays.py",
        "_step/_arrays.py",
        "corpus/_file.py",
        "models/_file.py",
    ]


# --- imports between files --------------------------------------------------------------------------------------------


FORMS = {
    "from band.encoders import Encoder": "band.encoders",
    "from band.encoders import _base": "band.encoders._base",
    "from band.encoders._base import Encoder as E": "band.encoders._base",
    "import band.encoders._base": "band.encoders._base",
    "from .encoders import Encoder": "band.encoders",
    "from . import encoders": "band.encoders",
    "from .encoders._base import *": "band.encoders._base",
    "def f():\n    from band import encoders": "band.encoders",
    "if TYPE_CHECKING:\n    from band.encoders import Encoder": "band.encoders",
    "import band as b\nb.encoders.get()": "band.encoders",
    "import band\nband.encoders.get()": "band.encoders",
    "import band as b\nb.Encoder(1)": "band.encoders",
    "from band import Encoder": "band.encoders",
    "from band import __version__": "band",
    "import band as b\nb.__version__": "band",
    "import band as b": None,
    "import numpy.encoders, band_of_others": None,
    "from encoders import Encoder": None,
}


@pytest.mark.parametrize("text", FORMS)
def test_an_arrow_is_drawn_for_each_form_of_import(structure, band, text):
    package = band(
        __init__='__version__ = "1"\n_TABLE = {"encoders": ("Encoder",)}',
        song=text,
        **{"encoders/__init__": "", "encoders/_base": ""},
    )
    assert structure.arrows(package)["band.song"] == ({FORMS[text]} if FORMS[text] else set())


def test_relative_imports_climb(structure, band):
    package = band(
        audio="", **{"models/__init__": "from . import _file", "models/_file": "from .. import audio\nfrom . import f"}
    )
    assert structure.arrows(package) == {
        "band": set(),
        "band.audio": set(),
        "band.models": {"band.models._file"},
        "band.models._file": {"band.audio", "band.models"},
    }


@pytest.mark.parametrize("where", ["", "if TYPE_CHECKING:\n    ", "def f():\n    "])
def test_a_cycle_is_found_wherever_its_imports_stand(structure, band, where):
    files = {"corpus": "import band.windows", "windows": f"{where}from band.corpus import Corpus", "tune": ""}
    assert structure.cycles(band(**files)) == [["band.corpus", "band.windows"]]
    assert structure.cycles(band(**files | {"corpus": "import band.tune"})) == []  # the control


def test_a_private_file_that_imports_its_own_package_closes_a_cycle(structure, band):
    inside = {"models/__init__": "from band.models import _file", "models/_base": ""}
    assert structure.cycles(band(**inside, **{"models/_file": "from band.models._base import Base"})) == []
    found = structure.cycles(band(**inside, **{"models/_file": "from band.models import load"}))
    assert found == [["band.models", "band.models._file"]]


def test_cycles_that_share_a_file_are_one_and_others_are_their_own(structure, band):
    package = band(
        a="import band.b",
        b="import band.a, band.c",
        c="import band.b",
        d="import band.a",
        e="from . import f",
        f="import band.e",
    )
    assert structure.cycles(package) == [["band.a", "band.b", "band.c"], ["band.e", "band.f"]]


def test_the_table_of_lazy_names_is_no_arrow_but_its_names_lead_on(structure, band):
    for_types = "if TYPE_CHECKING:\n    from band.corpus import Corpus as Corpus"
    files = {"corpus": "from band import __version__", "cli": "import band as b\nb.Corpus"}
    package = band(__init__=for_types, **files)
    assert structure.arrows(package)["band"] == set()
    assert structure.arrows(package)["band.cli"] == {"band.corpus"}
    assert structure.cycles(package) == []
    for text in ("from band.corpus import Corpus", f"{for_types}\nelse:\n    from band.corpus import Corpus"):
        at_run_time = band(__init__=text, **files)
        assert structure.cycles(at_run_time) == [["band", "band.corpus"]]  # the control


# --- attributes -------------------------------------------------------------------------------------------------------


SETTING = ["self.tone = 1", "self.tone, x = 1, 2", "self.tone: int = 1", "self.tone += 1", "for self.tone in []: pass"]


@pytest.mark.parametrize("statement", SETTING)
@pytest.mark.parametrize("method", ["play", "build", "__init__"])
def test_an_attribute_that_a_method_sets_is_born_late(structure, band, statement, method):
    package = band(**only_file(f"class Drum:\n    def {method}(self):\n        {statement}"))
    expected = {} if method == "__init__" else {"band.song.Drum": ["tone"]}
    assert structure.late_attributes(package) == expected


@pytest.mark.parametrize(
    "base", ["tone = None", "tone: int", "def tone(self): ...", "def __init__(self): self.tone = 0"]
)
def test_an_attribute_that_a_base_knows_is_not_born_late(structure, band, base):
    drum = "\nclass Drum(Part):\n    def play(self): self.tone = 1"
    part = f"class Part:\n    {base}\n    def play(self): self.pitch = 1"
    elsewhere = {"parts/__init__": "from band.parts._base import Part", "parts/_base": part}
    late = {"band.parts._base.Part": ["pitch"]}
    imports = ["from band.parts import Part", "from band.parts._base import Part"]
    for text in imports:
        assert structure.late_attributes(band(**elsewhere, song=text + drum)) == late
    used = "import band as b\nclass Drum(b.parts.Part):\n    def play(self): self.tone = 1"
    assert structure.late_attributes(band(**elsewhere, song=used)) == late
    own = band(**elsewhere, song=part + drum)
    assert structure.late_attributes(own) == late | {"band.song.Part": ["pitch"]}


def test_a_base_of_the_same_name_outside_the_package_knows_nothing(structure, band):
    text = "from others import Part\nclass Drum(Part):\n    def play(self): self.tone = 1"
    package = band(parts="class Part:\n    tone = None", song=text)
    assert structure.late_attributes(package) == {"band.song.Drum": ["tone"]}


def test_only_the_object_itself_gets_attributes(structure, band):
    text = """
class Drum:
    def play(self, other):
        other.tone = self.pitch = 1
        class Inner:
            def __init__(self): self.loud = 1
        def later(): self.soft = 1
    @staticmethod
    def make(drum): drum.size = 1
"""
    assert structure.late_attributes(band(**only_file(text))) == {"band.song.Drum": ["pitch", "soft"]}


def test_two_classes_of_one_name_in_a_file_are_both_seen(structure, band):
    text = """
def one():
    class Drum:
        def play(self): self.tone = 1
def two():
    class Drum:
        def __init__(self): self.tone = self.pitch = 1
        def play(self): self.pitch = 1
"""
    assert structure.late_attributes(band(**only_file(text))) == {"band.song.Drum": ["tone"]}


# --- types ------------------------------------------------------------------------------------------------------------


def test_any_is_counted_wherever_it_stands_in_an_annotation(structure, band):
    text = """
class Drum:
    def play(self, a: Any, b: "dict[str, Any]", /, c: typing.Any | None = None, *args: Any, d: int, **options: Any): ...
def f(e: Literal["a b", "c"], g: list["Any"], h, i: ManyThings) -> Any:
    j: Any = 1
"""
    found = structure.annotated_arguments(band(**only_file(text)))
    assert tuple(found) == (7, 4, 2)
    assert found.share == 4 / 7


def test_a_type_checker_counts_complaints(structure, band, tmp_path):
    pytest.importorskip("mypy")
    package = band(**only_file('import nowhere\nx: int = "a"\ndef f(x): return x\n'))
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert structure.complaints(package) == (1, "mypy's defaults")
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\ndisallow_untyped_defs = true\n")
    assert structure.complaints(package) == (3, "pyproject.toml")


def test_settings_of_a_type_checker_can_be_given(structure, band, tmp_path, monkeypatch):
    commands = []
    done = subprocess.CompletedProcess([], 1, "a.py:1: error: one [misc]\na.py:1: note: two\n", "")
    monkeypatch.setattr(structure.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(structure.subprocess, "run", lambda command, **options: commands.append(command) or done)
    assert structure.complaints(band(), tmp_path / "other.toml") == (1, "other.toml")
    assert f"--config-file={tmp_path / 'other.toml'}" in commands[0]
    assert "--ignore-missing-imports" not in commands[0]
    structure.complaints(band())
    assert "--ignore-missing-imports" in commands[1]  # the control


def test_a_type_checker_that_cannot_work_is_told(structure, band, tmp_path):
    pytest.importorskip("mypy")
    package = band()
    (tmp_path / "band" / "song.py").write_text("def (")
    with pytest.raises(RuntimeError, match="mypy ended with code 2"):
        structure.complaints(package)


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_column_for_each_folder(structure, band, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(structure.importlib.util, "find_spec", lambda name: None)  # mypy is not installed
    band(a="import band.b", b="import band.a", _c="class Drum:\n    def play(self, x: Any): self.tone = 1")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "__init__.py").touch()
    structure.main([str(tmp_path / "band"), str(empty), "--list"])
    out = capsys.readouterr().out
    rows = dict(line.strip("| ").split(" | ", 1) for line in out.splitlines() if line.startswith("|"))
    assert rows["figure"] == f"{tmp_path / 'band'} | {empty}"
    assert rows["files"] == "4 | 1"
    assert rows["lines of the biggest class"] == "2 (Drum) | 0 ()"
    assert rows["arrows a file"] == "0.50 | 0.00"
    assert rows["cycles between files"] == "2 files | 0"
    assert rows["attributes born outside `__init__`"] == "1 | 0"
    assert rows["of these, Any anywhere in the annotation"] == "1 (100.0 %) | 0 (0.0 %)"
    assert rows["complaints of mypy"] == "- | -"
    assert f"A cycle in {tmp_path / 'band'}: band.a, band.b\n" in out
    assert "born late: band._c.Drum: tone\nprivate room: _c\n" in out


# --- our own package --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parsed():
    return {}


@pytest.fixture
def ours(structure, parsed):
    """Our own package, parsed once for all tests."""
    if not parsed:
        parsed["package"] = structure.read(ROOT / "gruvlike")
    return parsed["package"]


def test_no_files_of_ours_need_each_other(structure, ours):
    assert structure.cycles(ours) == []


def test_at_most_eight_private_rooms_stand_at_the_top(structure, ours):
    assert len(structure.private_rooms(ours)) <= 8


def test_each_attribute_of_ours_is_born_in_init(structure, ours):
    assert structure.late_attributes(ours) == {}


def test_few_arguments_of_ours_may_be_anything(structure, ours):
    assert structure.annotated_arguments(ours).share < 0.1


def test_no_private_file_of_ours_has_a_twin(structure, ours):
    assert structure.twin_files(ours) == []


def test_what_a_type_checker_overlooks_is_named():
    """Libraries without types are listed one by one, and an ignored line of ours has a code and a reason."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    overrides = settings["overrides"]
    blanket = {"ignore_errors", "ignore_missing_imports", "follow_imports", "disable_error_code", "exclude"}
    assert not blanket & settings.keys()
    modules = [module for override in overrides for module in override["module"]]
    assert not [module for module in modules if module.startswith(("*", "gruvlike"))]
    assert not [o for o in overrides if {"ignore_errors", "disable_error_code"} & o.keys()]
    good, wrong = re.compile(r"# type: ignore\[[\w,\- ]+\]  # \w"), []
    for path in sorted((ROOT / "gruvlike").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"#\s*(type:\s*ignore|mypy:)", line) and not good.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong
    assert good.search("x = 1  # type: ignore[misc]  # Keras has no types.")  # the controls
    assert not good.search("x = 1  # type: ignore[misc]")
