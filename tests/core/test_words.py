"""The words of the project: plain English and the field's nouns in names, columns, keys, messages and documents."""

import ast
import dataclasses
import importlib
import inspect
import io
import keyword
import re
import tokenize
from functools import cache

import pytest

from workflow_scripts import ROOT
from workflow_scripts.core import rows
from workflow_scripts.core.config.section import Section

NOT_IN_NAMES = {
    *("room", "rooms", "house", "houses", "home", "tree", "trees", "picture", "pictures", "cohort", "cohorts"),
    *("made", "kept", "asked", "told", "found", "watched", "customs", "crew", "gates", "seam", "seams"),
    *("behind", "unlike"),
}
"""Not a name, and not a part of one between underscores or capitals."""
NOT_IN_PROSE = re.compile(
    r"\b(?:customs|crews?|watched|cohorts?|unlike|pictures?|rooms?|houses?|seams?|base\s+lines?|data\s+sets?)\b", re.I
)
"""Not in messages, docstrings, comments and documents."""
FORCED_NAMES: set[tuple[str, str]] = set()
"""(file, name) where a library asks for the name."""

PYTHON = sorted(
    file for folder in ("workflow_scripts", "benchmarks", "tests", ".ci") for file in (ROOT / folder).rglob("*.py")
)
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.*")),
    *sorted((ROOT / "workflow_scripts").rglob("*.jinja")),
    *sorted((ROOT / "config").glob("*.*")),
    *sorted((ROOT / "profiles").rglob("*.yaml")),
    *sorted((ROOT / "envs").glob("*.*")),
    *(ROOT / name for name in ("Makefile", "pyproject.toml", ".ci/run", "CITATION.cff", ".pre-commit-config.yaml")),
    ROOT / ".snakemake-workflow-catalog.yml",
]
ITSELF = ROOT / "tests/core/test_words.py"


def name_of(path):
    return str(path.relative_to(ROOT))


def parts_of(name):
    """`missingImages_2` → missing, images, 2."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)}


NAMED_BY = {
    **{ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.alias: "asname"},
    **{ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name"},
    **{ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name"},
}
"""The field of a node that names a variable, parameter, attribute it sets, function, class or alias."""
STORE = ast.Store()


def nodes_of(source):
    """All nodes of a module, as `ast.walk` in half its time."""
    waiting = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        yield node
        for value in vars(node).values():
            if isinstance(value, list):
                waiting += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST):
                waiting.append(value)


def name_at(node):
    """What a node of a module names; None where it names nothing."""
    field = NAMED_BY.get(type(node))
    return getattr(node, field) if field and isinstance(getattr(node, "ctx", STORE), ast.Store) else None


def names_in(source):
    """What a module names."""
    return {name for node in nodes_of(source) if (name := name_at(node))}


def wrong_names(file, names):
    """The names that hold a private word; a test's name is a sentence, and counts as prose."""
    wrong = {name for name in names if parts_of(name) & NOT_IN_NAMES and not name.startswith("test_")}
    return sorted(name for name in wrong if (name_of(file), name) not in FORCED_NAMES)


def tokens_of(file):
    return tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)


@cache
def module(file):
    """What a module names; and its comments, docstrings, messages and names of tests, as running text. Read once.

    What follows a `#` counts as a comment, within a text too: that is prose as well, and takes no tokens.
    """
    text = file.read_text(encoding="utf-8")
    names, prose = set(), []
    for node in nodes_of(text):
        if name := name_at(node):
            names.add(name)
        elif type(node) is ast.Constant and isinstance(node.value, str):
            prose.append(node.value)
    prose += (name.replace("_", " ") for name in names if name.startswith("test_"))
    prose.append(" ".join(re.findall(r"#+(.*)", text)))
    return names, prose


def prose_of_rules(file):
    """Comments and texts of a file of rules; what stands between quotation marks is text to whoever runs it."""
    for kind in (tokenize.COMMENT, tokenize.STRING):
        yield " ".join(token.string.lstrip("#") for token in tokens_of(file) if token.type == kind)


def hits(files, hits_of):
    """What is wrong in each file, by its name, where something is."""
    return {name_of(file): wrong for file in files if (wrong := hits_of(file))}


def test_names_are_plain():
    assert hits(PYTHON, lambda file: wrong_names(file, module(file)[0])) == {}


def test_names_in_rules_are_plain():
    def wrong(file):
        names = {token.string for token in tokens_of(file) if token.type == tokenize.NAME}
        return wrong_names(file, names - set(keyword.kwlist))

    assert hits(RULES, wrong) == {}


def test_modules_and_folders_have_plain_names():
    folders = ("workflow_scripts", "rules", "tests", "benchmarks", "config", "profiles", "docs", "envs")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    assert [name_of(path) for path in paths if parts_of(path.stem) & NOT_IN_NAMES] == []


def columns():
    for name, kind in inspect.getmembers(rows, inspect.isclass):
        if dataclasses.is_dataclass(kind):
            yield from ((name, field.name) for field in dataclasses.fields(kind))
        elif hasattr(kind, "_fields"):
            yield from ((name, field) for field in kind._fields)


def keys():
    for file in (ROOT / "workflow_scripts/core/config").glob("*.py"):
        importlib.import_module(f"workflow_scripts.core.config.{file.stem}")
    sections = [Section]
    for section in sections:
        sections += section.__subclasses__()
        yield from ((section.__name__, field) for field in section.model_fields)


@pytest.mark.parametrize("listed", [columns, keys])
def test_columns_and_keys_are_plain(listed):
    names = list(listed())
    assert len(names) > 60
    assert [name for name in names if parts_of(name[1]) & NOT_IN_NAMES] == []


@pytest.mark.parametrize(
    ("files", "prose"),
    [
        ([file for file in PYTHON if file != ITSELF], lambda file: module(file)[1]),
        (RULES, prose_of_rules),
        (DOCUMENTS, lambda file: [file.read_text(encoding="utf-8")]),
    ],
    ids=["modules", "rules", "documents"],
)
def test_messages_docstrings_comments_and_documents_are_plain(files, prose):
    assert hits(files, lambda file: [hit for text in prose(file) for hit in NOT_IN_PROSE.findall(text)]) == {}


@pytest.mark.parametrize("name", ["found", "kept_rows", "treeOf", "HouseRules", "_told", "image_home"])
def test_a_private_word_is_seen_in_a_name(name):
    assert wrong_names(ITSELF, names_in(f"{name} = 1")) == [name]
    assert wrong_names(ITSELF, names_in(f"def f({name}): pass")) == [name]


@pytest.mark.parametrize("name", ["foundation", "threes", "treehouse", "roommate", "madeira"])
def test_a_word_that_holds_one_is_another_word(name):
    assert wrong_names(ITSELF, names_in(f"{name} = 1")) == []


@pytest.mark.parametrize("text", ["the base\nline", "A Picture", "its data sets", "unlike signs", "a seam"])
def test_a_private_word_is_seen_in_prose(text):
    assert NOT_IN_PROSE.search(text)


@pytest.mark.parametrize("text", ["a baseline", "a dataset", "unlikely", "customised", "roomy"])
def test_prose_may_hold_words_that_only_look_alike(text):
    assert not NOT_IN_PROSE.search(text)
