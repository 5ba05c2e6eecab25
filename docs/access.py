"""Writes docs/access.md, who can have what the field's tables stand on, from docs/access.yaml.

`python docs/access.py` writes it after a change; a test fails while they drift.
"""

import sys
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT / "docs/access.yaml"
PAGE = ROOT / "docs/access.md"

WORDS = {
    "public": "anyone may download it",
    "gated": "after an agreement, a course or an account",
    "private": "nobody but its owner, or not published",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Strict):
    """Where numbers are published."""

    title: str
    link: str | None


class Number(_Strict):
    """A number that somebody reports."""

    system: str
    value: float
    percent: bool = False
    source: str  # key of `sources`


class Row(_Strict):
    """A row of a table of the field's."""

    name: str
    metric: str
    access: Literal["public", "gated", "private"]
    needs: str  # to run it here
    configuration: str | None  # below config/; None: none is shipped
    licence: str | None  # None: not read, see the link
    link: str | None
    note: str | None = None
    numbers: tuple[Number, ...]

    @model_validator(mode="after")
    def _private_rows_cannot_be_run(self) -> "Row":
        if self.access == "private" and self.configuration is not None:
            raise ValueError(f"{self.name}: private rows have no configuration that runs them")
        return self


class Table(_Strict):
    """A table, or a part of one."""

    title: str
    rows: tuple[Row, ...] = Field(min_length=1)


class Access(_Strict):
    """All of docs/access.yaml."""

    sources: dict[str, Source]
    tables: tuple[Table, ...]

    @model_validator(mode="after")
    def _sources_are_named(self) -> "Access":
        for table in self.tables:
            for row in table.rows:
                if unknown := {number.source for number in row.numbers} - self.sources.keys():
                    raise ValueError(f"{row.name}: {sorted(unknown)[0]!r} is not in `sources`")
        return self


def read_access() -> Access:
    """The facts, checked."""
    return Access.model_validate(yaml.safe_load(FACTS.read_text(encoding="utf-8")))


def published_of(access: Access, row: Row) -> dict[str, object]:
    """The numbers of a row as the configuration's section `published` takes them."""
    return {
        number.system: {
            "source": access.sources[number.source].title,
            "link": access.sources[number.source].link,
            "percent": number.percent,
            "numbers": [{"task": "classification", "subset": row.name, "metric": row.metric, "value": number.value}],
        }
        for number in row.numbers
    }


def access_text() -> str:
    """The page."""
    access = read_access()
    rows = [row for table in access.tables for row in table.rows]
    counts = ", ".join(f"{sum(row.access == kind for row in rows)} {kind}" for kind in WORDS)
    lines = [
        "# Access",
        "",
        "<!-- Generated from docs/access.yaml by docs/access.py: do not edit. -->",
        "",
        f"Every row of the tables that the field compares itself by: {counts}. What can be had is run by the",
        "configuration that stands beside it; what cannot can be imported as a number, and is then never ranked.",
        "Licences and terms change: the link decides, not this page.",
        "",
        "| access | meaning |",
        "| --- | --- |",
        *(f"| {kind} | {meaning} |" for kind, meaning in WORDS.items()),
    ]
    for table in access.tables:
        lines += [
            "",
            f"## {table.title}",
            "",
            "| row | metric | access | to run it here | configuration | licence | published |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [_line(row) for row in table.rows]
    lines += ["", "## Sources", ""]
    lines += [
        f"- {source.title}" + (f": [{source.link}]({source.link})" if source.link else ", as its review quotes it")
        for source in access.sources.values()
    ]
    example = next(row for row in rows if row.name == "EyePACS")
    section = yaml.safe_dump(
        {"published": published_of(access, example)}, sort_keys=False, allow_unicode=True, width=110
    )
    lines += [
        "",
        "## Numbers of rows that cannot be run",
        "",
        "The section `published` of a configuration puts published numbers into the tables of a run. `table.md`,",
        "`table.tex`, `results.json` and the page show them, marked as imported, with their source, beside the run's",
        "own numbers of the same task, subset and metric, where there are any. They are in no ranking, comparison or",
        "verdict: they come from other code, other prompts, and often other rows. Those of EyePACS, which is private:",
        "",
        "<!-- a test reads this section as a configuration's -->",
        "",
        "```yaml",
        section.rstrip("\n"),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    name = f"[{row.name}]({row.link})" if row.link else row.name
    shipped = f"[`{row.configuration}`](../config/{row.configuration})" if row.configuration else "–"
    numbers = "; ".join(f"{number.system} {number.value:g}{' %' if number.percent else ''}" for number in row.numbers)
    published = ". ".join(text for text in (numbers, row.note) if text) or "–"
    cells = [name, row.metric, row.access, row.needs, shipped, row.licence or ("see its link" if row.link else "–")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in [*cells, published]) + " |"


def main() -> None:
    PAGE.write_text(access_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
