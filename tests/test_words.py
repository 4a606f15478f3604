"""The words of the package: one docstring dialect, and comments that a reader with little English understands."""

import ast
import io
import re
import textwrap
import tokenize
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gruvlike"

# Rooms whose words have not been gone through. The list only shrinks: a room that is clean has to leave it.
NOT_YET: set[str] = set()

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns", "Example", "References")
LISTS = ("Args", "Attributes", "Raises", "Warns")  # sections of the form "name: Text"
HEADER = re.compile(r"[A-Z][a-z]+(?: [a-z]+)?:")
ENTRY = re.compile(r"\*{0,2}\w+(?:, \*{0,2}\w+)*: (.*)")
BEGINS_WELL = re.compile(r"[A-Z0-9`\"'(\[+-]")

# People hear. A network reads frames, a stream has given samples, a tick is audible. These are words about people:
HEAR = re.compile(r"(?<![a-z])hear(?:s|d|ing)?(?![a-z])", re.IGNORECASE)
PEOPLE_HEAR = ("like hearing",)

BRITISH = re.compile(
    r"(?:artefact|behaviour|cancelled|centre|colour|favour|grey|judgement|labelled|learnt|licence|modelled"
    r"|modelling|neighbour|travelled|whilst|analys(?:e|ed|ing)\b|(?:equal|final|general|initial|local|maxim|minim|normal"
    r"|optim|organ|parallel|penal|quant|random|real|recogn|serial|special|standard|summar|synthes|util|visual)"
    r"is(?:e|es|ed|er|ers|ing|ation|ations)\b)",
    re.IGNORECASE,
)


def docstrings(source):
    """Yields (line, text) of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def prose(docstring):
    """Returns a docstring without its examples: without the lines from `>>>` to the next empty line."""
    return re.sub(r"^ *>>> .*?(?=\n\s*\n|\Z)", "", docstring, flags=re.MULTILINE | re.DOTALL)


def comments(source):
    """Returns (line, text) of each comment; a comment that fills lines one after the other is one text."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        (line, column), text = token.start, token.string.lstrip("# ")
        alone = not token.line[:column].strip()
        first, last, text_before = found[-1] if found else (0, None, "")
        if alone and last == line - 1:
            found[-1] = (first, line, f"{text_before} {text}")
        else:
            found.append((line, line if alone else None, text))
    return [(first, text) for first, _, text in found]


def sections(docstring):
    """Yields (name, lines) of each section; lines that begin with a space go on with the entry before."""
    lines = docstring.splitlines()
    heads = [i for i, (line, after) in enumerate(pairwise(lines)) if HEADER.fullmatch(line) and after.startswith("  ")]
    for start, stop in pairwise([*heads, len(lines)]):
        yield lines[start][:-1], textwrap.dedent("\n".join(lines[start + 1 : stop])).strip().splitlines()


def wrong_sections(docstring):
    """Yields a complaint for each rule of the dialect that the sections of a docstring break."""
    found = list(sections(docstring))
    names = [name for name, _ in found]
    if names != sorted(set(names), key=[*SECTIONS, *names].index) or not set(names) <= set(SECTIONS):
        yield f"sections are {', '.join(SECTIONS)}, in this order, not {', '.join(names)}"
    for name, lines in found:
        if name in LISTS:
            entries = [(line, ENTRY.fullmatch(line)) for line in lines if line and not line.startswith(" ")]
            yield from (f"{name}: {line!r}" for line, it in entries if not it or not BEGINS_WELL.match(it[1]))
        elif name in ("Returns", "Yields") and not BEGINS_WELL.match(lines[0]):
            yield f"{name}: {lines[0]!r}"


def what_clauses(text):
    """Yields each clause that begins with "what" and is no question: it makes the reader look for a noun."""
    for match in re.finditer(r"\bwhat\b", text, re.IGNORECASE):
        end = re.compile(r"[.?!](?=[\s\"')`]|$)|\n\s*\n|\Z").search(text, match.end())
        if end[0] != "?":
            yield " ".join(text[max(0, match.start() - 25) : match.end() + 25].split())


def complaints(source):
    """Yields (line, complaint) for each rule that the words of a source file break."""
    for line, text in docstrings(source):
        yield from ((line, wrong) for wrong in wrong_sections(text))
    for line, text in [*((line, prose(text)) for line, text in docstrings(source)), *comments(source)]:
        yield from ((line, f"a clause with 'what': {clause!r}") for clause in what_clauses(text))
    for line, text in enumerate(source.splitlines(), 1):
        if HEAR.search(text) and not any(words in text for words in PEOPLE_HEAR):
            yield line, f"only people hear: {text.strip()!r}"
        yield from ((line, f"American spelling: {match[0]!r}") for match in BRITISH.finditer(text))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({room(path) for path in FILES})


def complaints_of(name):
    return [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in FILES
        if room(path) == name
        for line, complaint in sorted(complaints(path.read_text("utf-8")))
    ]


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_speaks_the_dialect_in_plain_words(name):
    found = complaints_of(name)
    if name in NOT_YET:
        assert found, f"{name} is clean: take it out of NOT_YET"
    else:
        assert not found, "\n".join(found)


def test_the_lists_name_only_things_that_exist():
    package = "\n".join(path.read_text("utf-8") for path in FILES)
    assert set(ROOMS) >= NOT_YET
    assert [words for words in PEOPLE_HEAR if words not in package] == []


def test_spelling_is_american_on_pages_and_in_scripts():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    scripts = [path for name in ("tests", "benchmarks") for path in (ROOT / name).glob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in {*pages, *scripts} - {Path(__file__).resolve()}
        for match in BRITISH.finditer(path.read_text("utf-8"))
    ]
    assert not wrong


GOOD = '''
def scale(sound, gain):
    """Scales sound.

    Does it get louder? That depends on what?

    Args:
        sound: Samples of shape (S,), whatever they are.
            what is it? Is it music?
        gain: `1.0` keeps the level.

    Returns:
        Float32 samples.

    Raises:
        TypeError, ValueError: If `sound` is no sound.

    Example:
        >>> what = 1

    References:
        A book.
    """
    # The gain is large
    # enough.
'''


def test_the_rules_find_nothing_in_good_words():
    assert list(complaints(GOOD)) == []


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        ("Args:", "Arguments:", "sections are"),
        ("Returns:", "Yields:\n        Nothing.\n\n    Args:", "sections are"),
        ("References:\n", "Returns:\n", "sections are"),
        ("sound: Samples", "sound: samples", "Args: 'sound: samples of"),
        ("TypeError, ValueError: If", "As in `scale`, if", "Raises: 'As in"),
        ("Float32", "float32", "Returns: 'float32"),
        ("That depends on what?", "That is what it does.", "a clause with 'what'"),
        ("# enough", "# for what follows", "a clause with 'what'"),
        ("is no sound", "is not heard", "only people hear"),
        ("(sound, gain)", "(heard, gain)", "only people hear"),
        ("Scales sound", "Normalises sound", "American spelling"),
    ],
)
def test_each_rule_finds_the_words_that_break_it(good, bad, complaint):
    """The control."""
    found = [text for _, text in complaints(GOOD.replace(good, bad))]
    assert [text for text in found if text.startswith(complaint)], found


def test_a_comment_is_read_over_its_lines():
    source = "a = 1  # What for?\n# Who knows\n# that?\n\n# Nobody.\nb = 2  # one\nc = 3  # two\n"
    assert comments(source) == [(1, "What for?"), (2, "Who knows that?"), (5, "Nobody."), (6, "one"), (7, "two")]
