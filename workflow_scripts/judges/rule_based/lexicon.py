"""The vocabulary of the rule-based judge: a table of phrases, compiled so that a text is labelled in one pass.

The table is `lexicon.yaml`; this module reads and matches it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from workflow_scripts.core.files import BadFile

TABLE = Path(__file__).with_name("lexicon.yaml")

_WORD = re.compile(r"[a-z0-9][a-z0-9'’/-]*")


@dataclass(frozen=True)
class Item:
    """A labelled stretch of a sentence: what kind of phrase, which entry, and where (characters)."""

    kind: str
    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Related:
    """Two findings that one report may call by the other's name."""

    vague: str | None
    severity: Literal["significant", "negligible"]


@dataclass(frozen=True)
class Entry:
    """A finding of the table."""

    significance: str  # CRIMSON's clinical significance
    by_severity: dict[str, str]  # significance at a severity, 1 to 4
    by_change: dict[str, str]
    midline: bool  # it has no side
    device: bool  # misplaced, it is urgent


Phrase = tuple[re.Pattern[str], str, str]
"""Pattern, kind and name."""


@dataclass(frozen=True)
class Lexicon:
    """The compiled table."""

    phrases: dict[str, list[Phrase]]  # by first word
    findings: dict[str, Entry]
    denies: dict[str, tuple[str, ...]]
    related: dict[frozenset[str], Related]
    neighbours: frozenset[frozenset[str]]
    zone_sides: dict[str, str]  # words of a zone that name a side too
    explains: frozenset[str]  # findings that take in what a sentence gives as their reason
    neutral: frozenset[str]
    foreign: frozenset[str]

    def label(self, sentence: str, kinds: frozenset[str] | set[str] = frozenset()) -> list[Item]:
        """Non-overlapping labelled phrases of a lower-case sentence, the longest at each place; of `kinds` if given."""
        items = []
        end = 0
        for word in _WORD.finditer(sentence):
            if word.start() < end:
                continue
            best: Item | None = None
            for pattern, kind, name in self._candidates(word.group()):
                match = None if kinds and kind not in kinds else pattern.match(sentence, word.start())
                if match and (best is None or match.end() > best.end):
                    best = Item(kind, name, word.start(), match.end())
            if best:
                items.append(best)
                end = best.end
        return items

    def _candidates(self, word: str) -> Iterator[Phrase]:
        for form in dict.fromkeys((word, word.removesuffix("s"), word.removesuffix("es"), _singular(word))):
            yield from self.phrases.get(form, ())


def _singular(word: str) -> str:
    return word[:-3] + "y" if word.endswith("ies") else word


@cache
def load_lexicon(path: Path = TABLE) -> Lexicon:
    """Read and compile the table.

    Raises:
        BadFile: the table is missing, is not valid YAML, or names a finding that it does not define.
    """
    try:
        table = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # "no" is a word here
    except FileNotFoundError:
        raise BadFile(f"{path} is missing; install the package again") from None
    except yaml.YAMLError as error:
        raise BadFile(f"{path} is not valid YAML: {error}") from None
    phrases: dict[str, list[Phrase]] = {}

    def add(kind: str, name: str, terms: Sequence[str]) -> None:
        for phrase in terms:
            for first in _first_words(phrase):
                phrases.setdefault(first, []).append((_compiled(phrase), kind, name))

    for name, entry in table["findings"].items():
        add("finding", name, entry["terms"])
    for kind in ("severity", "side", "zone", "negation", "change"):
        for name, terms in table[kind].items():
            add(kind, str(name), terms)
    for name, entry in table["anatomy"].items():
        add("anatomy", name, entry["terms"])
    for kind in ("uncertainty", "misplaced", "normal", "general"):
        add(kind, kind, table[kind])
    references = {name for entry in table["anatomy"].values() for name in entry["denies"]}
    references |= {name for entry in table["related"] for name in entry["findings"]} | set(table["explains"])
    if undefined := sorted(references - set(table["findings"])):
        raise BadFile(f"{path}: {', '.join(undefined)} named but not defined under `findings`")
    return Lexicon(
        phrases=phrases,
        findings={name: _entry(entry) for name, entry in table["findings"].items()},
        denies={name: tuple(entry["denies"]) for name, entry in table["anatomy"].items()},
        related={
            frozenset(entry["findings"]): Related(entry.get("vague"), entry["severity"]) for entry in table["related"]
        },
        neighbours=frozenset(frozenset(pair) for pair in table["neighbours"]),
        zone_sides={word: side for side, words in table["zone_sides"].items() for word in words},
        explains=frozenset(table["explains"]),
        neutral=frozenset(table["neutral"]),
        foreign=frozenset(table["foreign"]),
    )


def _entry(entry: dict[str, Any]) -> Entry:
    return Entry(
        significance=entry["significance"],
        by_severity=entry.get("by_severity", {}),
        by_change=entry.get("by_change", {}),
        midline="midline" in entry,
        device="device" in entry,
    )


def _first_words(phrase: str) -> list[str]:
    if not phrase.startswith("("):
        return [phrase.split(" ")[0]]
    group = phrase[1:].partition(")")[0]
    return [option.split(" ")[0] for option in group.split("|")]


def _compiled(phrase: str) -> re.Pattern[str]:
    """A phrase as a pattern: gaps, optional groups, and the plural of the last word."""
    body = ""
    for word in re.findall(r"\([^)]*\)|\S+", phrase):
        space = r"\s+" if body else ""
        if word == "~":
            body += r"(?:\s+[a-z0-9/-]+){0,4}?"
        elif word.startswith("("):
            options = [option for option in word[1:-1].split("|") if option]
            group = "|".join(re.escape(option).replace(r"\ ", r"\s+") for option in options)
            body += f"(?:{space}(?:{group}))" + ("?" if len(options) < word.count("|") + 1 else "")
        else:
            body += space + re.escape(word)
    body = body[:-1] + "(?:y|ies)" if body.endswith("y") else body + "(?:e?s)?"
    return re.compile(body + r"(?![a-z0-9])")
