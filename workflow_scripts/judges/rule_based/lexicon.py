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

_WORD = re.compile(r"[a-z0-9][a-z0-9'/-]*")
_GAP = r"(?:\s+(?!(?:with|without|no|normal|clear|unremarkable)\b)[a-z0-9/-]+){0,4}?"
"""Up to four words; none that ends what is said of an organ ("the heart is normal with a large effusion")."""


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
    diffuse: bool  # only where neither is on one side alone
    reason: bool  # one may be given as the reason of the other, but is never matched with it


@dataclass(frozen=True)
class Entry:
    """A finding of the table."""

    significance: str  # CRIMSON's clinical significance
    by_severity: dict[str, str]  # significance at a severity, 1 to 4
    by_change: dict[str, str]
    midline: bool  # it has no side
    device: str | None  # its group of devices
    distance: tuple[float, float] | None  # of a tube's tip from its landmark, mm; outside, it is misplaced
    numbering: str | None  # how many there are matters: "spine" and "rib" have numbered places, "lung" has none
    parts: dict[str, re.Pattern[str]]  # finding that it is at a part of the body: "fracture" of a rib
    trivial: bool  # seeing it, or not, says nothing about a report


Phrase = tuple[re.Pattern[str], str, str]
"""Pattern, kind and name."""


@dataclass(frozen=True)
class Lexicon:
    """The compiled table."""

    phrases: dict[str, list[Phrase]]  # by first word
    findings: dict[str, Entry]
    denies: dict[str, tuple[str, ...]]
    related: dict[frozenset[str], Related]
    same_disease: frozenset[frozenset[str]]  # findings that are one where a report names both at one place
    misplacement: dict[str, str]  # significance of a misplaced device by its group
    neighbours: frozenset[frozenset[str]]
    zone_sides: dict[str, str]  # words of a zone that name a side too
    explains: tuple[str, ...]  # findings that take in what a sentence gives as their reason, vaguest first
    spellings: dict[str, str]
    headers: re.Pattern[str]  # of a section, colon included
    skipped_sections: frozenset[str]
    steady: frozenset[str]
    neutral: frozenset[str]
    foreign: frozenset[str]

    def label(self, sentence: str, kinds: frozenset[str] = frozenset()) -> list[Item]:
        """Non-overlapping labelled phrases of a lower-case sentence, the longest at each place.

        Args:
            sentence: the text.
            kinds: what to look for. By default all but "misplaced", whose phrases mean it beside a device only.
        """
        items = []
        end = 0
        for word in _WORD.finditer(sentence):
            if word.start() < end:
                continue
            best: Item | None = None
            for pattern, kind, name in self._candidates(word.group()):
                wanted = kind in kinds if kinds else kind != "misplaced"
                match = pattern.match(sentence, word.start()) if wanted else None
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
    for kind in ("severity", "side", "zone", "negation", "unassessed", "change", "number"):
        for name, terms in table[kind].items():
            add(kind, str(name), terms)
    groups: dict[str, list[str]] = {}
    for group, terms in table["misplaced"].items():
        for phrase in terms:
            groups.setdefault(phrase, []).append(group)
    for phrase, names in groups.items():
        add("misplaced", " ".join(names), [phrase])
    for name, entry in table["anatomy"].items():
        add("anatomy", name, entry["terms"])
    for kind in ("uncertainty", "normal", "inert", "general"):
        add(kind, kind, table[kind])
    references = {name for entry in table["anatomy"].values() for name in entry["denies"]}
    references |= {name for entry in table["related"] for name in entry["findings"]} | set(table["explains"])
    references |= {name for pair in table["same_disease"] for name in pair}
    references |= {name for entry in table["findings"].values() for name in entry.get("parts", ())}
    if undefined := sorted(references - set(table["findings"])):
        raise BadFile(f"{path}: {', '.join(undefined)} named but not defined under `findings`")
    return Lexicon(
        phrases=phrases,
        findings={name: _entry(entry) for name, entry in table["findings"].items()},
        denies={name: tuple(entry["denies"]) for name, entry in table["anatomy"].items()},
        related={
            frozenset(entry["findings"]): Related(
                entry.get("vague"), entry["severity"], "diffuse" in entry, "reason" in entry
            )
            for entry in table["related"]
        },
        same_disease=frozenset(frozenset(pair) for pair in table["same_disease"]),
        misplacement=table["misplacement"],
        neighbours=frozenset(frozenset(pair) for pair in table["neighbours"]),
        zone_sides={word: side for side, words in table["zone_sides"].items() for word in words},
        explains=tuple(table["explains"]),
        spellings=table["spellings"],
        headers=_headers([*table["sections"]["skipped"], *table["sections"]["read"]]),
        skipped_sections=frozenset(table["sections"]["skipped"]),
        steady=frozenset(table["steady"]),
        neutral=frozenset(table["neutral"]),
        foreign=frozenset(table["foreign"]),
    )


def _entry(entry: dict[str, Any]) -> Entry:
    return Entry(
        significance=entry["significance"],
        by_severity=entry.get("by_severity", {}),
        by_change=entry.get("by_change", {}),
        midline="midline" in entry,
        device=entry.get("device"),
        distance=(float(entry["distance"][0]), float(entry["distance"][1])) if "distance" in entry else None,
        numbering=entry.get("numbering"),
        parts={name: re.compile(rf"\b(?:{'|'.join(words)})\b") for name, words in entry.get("parts", {}).items()},
        trivial="trivial" in entry,
    )


def _headers(names: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    return re.compile(rf"(?<![a-z])({'|'.join(longest_first)})\s*(?:\([^)]{{0,40}}\)\s*)?:", re.IGNORECASE)


def _first_words(phrase: str) -> list[str]:
    if not phrase.startswith("("):
        return [phrase.split(" ")[0]]
    group = phrase[1:].partition(")")[0]
    return [option.split(" ")[0] for option in group.split("|")]


def _compiled(phrase: str) -> re.Pattern[str]:
    """A phrase as a pattern: gaps, optional groups, and the plural of the last word."""
    words = re.findall(r"\([^)]*\)|\S+", phrase)
    body = ""
    for place, word in enumerate(words):
        space = r"\s+" if body else ""
        last = place == len(words) - 1
        if word == "~":
            body += _GAP
        elif word.startswith("("):
            options = [option for option in word[1:-1].split("|") if option]
            group = "|".join(_word(option, plural=last) for option in options)
            optional = "?" if len(options) < word.count("|") + 1 else ""
            body += f"(?:{space}(?:{group})){optional}"
            if optional and last:
                body += r"(?:e?s)?"  # the word before it is the last one where the group is absent
        else:
            body += space + _word(word, plural=last)
    return re.compile(body + r"(?![a-z0-9])")


def _word(words: str, *, plural: bool) -> str:
    body = re.escape(words).replace(r"\ ", r"\s+")
    if not plural:
        return body
    return body[:-1] + "(?:y|ies)" if body.endswith("y") else body + "(?:e?s)?"
