"""Step: one offline HTML page: the table, cases of every task with each system's answer, and what was left out.

Everything a model or a data set wrote is escaped by the template engine; pictures are embedded.
"""

import argparse
import base64
import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import jinja2
from PIL import Image

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.files import write_text
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tables import (
    AGREEMENT,
    COMPARISONS,
    METRICS,
    OUTCOMES,
    PREDICTIONS,
    QUARANTINE,
    ROWS,
    read_table,
)
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.report.tables import cell_parts, headline, number_text

SIDE = 176
"""Longest side of an embedded picture, in pixels."""

TEMPLATE = "page.html.jinja"


def thumbnail(image: Image.Image) -> str:
    """A picture as a data address, at most `SIDE` pixels a side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def chosen_cases(rows: list[dict], count: int) -> dict[str, list[dict]]:
    """`count` rows of each task, spread over its data sets, the same in every run."""
    chosen: dict[str, list[dict]] = {}
    for task in TASKS:
        turns: dict[str, int] = Counter()
        ranked = []
        for row in sorted((r for r in rows if r["task"] == task), key=lambda r: _rank(r["uid"])):
            ranked.append((turns[row["dataset"]], row["dataset"], row))
            turns[row["dataset"]] += 1
        if ranked:
            chosen[task] = [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])[:count]]
    return chosen


def _rank(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()


def shown_answer(system: str, row: dict, text: str | None, outcome: str) -> dict:
    """What a case shows of one system; `text` is None where it gave no answer."""
    return {
        "system": system,
        "text": text or "",
        "outcome": outcome,
        "right": text is not None and text.strip() == row["answer"].strip(),
    }


def unlike_means(answers: dict[tuple[str, str], dict], systems: list[str]) -> list[str]:
    """Sentences about systems that were not asked by the same means, so that more than the model differs.

    Args:
        answers: predictions by uid and system.
    """
    columns = {"engine": "engine", "constrained": "bound by a grammar"}
    found = []
    for column, name in columns.items():
        used = {
            system: sorted({str(row[column]) for (_, of), row in answers.items() if of == system and row["engine"]})
            for system in systems
        }
        if len({tuple(values) for values in used.values() if values}) > 1:
            told = "; ".join(f"{system}: {', '.join(values)}" for system, values in used.items() if values)
            found.append(f"{name} — {told}")
    return found


def write_page(
    spec: Report,
    systems: list[str],
    baselines: list[str],
    metrics: Path,
    comparisons: Path,
    agreement: Path,
    split: Path,
    root: Path,
    outcomes: list[Path],
    predictions: list[Path],
    quarantine: Path,
    out: Path,
) -> None:
    """Write the page of one split."""
    rows = read_table(split, ROWS).to_pylist()
    answers = {(r["uid"], r["system"]): r for path in predictions for r in read_table(path, PREDICTIONS).to_pylist()}
    texts = {key: row["text"] for key, row in answers.items()}
    judged = {(r["uid"], r["system"]): r["outcome"] for p in outcomes for r in read_table(p, OUTCOMES).to_pylist()}
    lines = headline(read_table(metrics, METRICS).to_pylist(), systems)
    left_out = Counter(read_table(quarantine, QUARANTINE)["reason"].to_pylist())
    cases = {
        task: [
            {
                "row": row,
                "pictures": [thumbnail(open_image(root, image["path"])) for image in row["images"]],
                "answers": [
                    shown_answer(system, row, texts.get((row["uid"], system)), judged[row["uid"], system])
                    for system in systems
                ],
            }
            for row in chosen
        ]
        for task, chosen in chosen_cases(rows, spec.cases).items()
    }
    outcome_counts = {
        system: Counter(outcome for (_, of), outcome in judged.items() if of == system) for system in systems
    }
    compared = [row for row in read_table(comparisons, COMPARISONS).to_pylist() if row["dataset"] == "macro"]

    def against_baseline(row: dict) -> bool:
        return bool({row["system_a"], row["system_b"]} & set(baselines))

    opposed = [row for row in read_table(agreement, AGREEMENT).to_pylist() if row["opposed"]]

    def of_judges(row: dict) -> bool:
        return {row[name].partition("_")[0] for name in ("metric_1", "metric_2")} == {"crimson", "green"}

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        spec=spec,
        systems=systems,
        split=split.parent.name,
        rows=len(rows),
        lines=lines,
        cell_parts=cell_parts,
        number_text=number_text,
        differences=[row for row in compared if not against_baseline(row)],
        gains=[row for row in compared if against_baseline(row)],
        unlike=unlike_means(answers, systems),
        opposed=[row for row in opposed if of_judges(row) and not against_baseline(row)],
        opposed_besides=[row for row in opposed if not of_judges(row) or against_baseline(row)],
        cases=cases,
        outcomes=outcome_counts,
        left_out=sorted(left_out.items()),
    )
    write_text(out, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON of the report section")
    parser.add_argument("--systems", required=True, help="JSON list: the systems in their order")
    parser.add_argument("--baselines", nargs="*", default=[], help="those of them that look at no picture")
    parser.add_argument("--metrics", type=Path, required=True, help="Parquet of metrics")
    parser.add_argument("--comparisons", type=Path, required=True, help="Parquet of paired comparisons")
    parser.add_argument("--agreement", type=Path, required=True, help="Parquet of agreement between metrics")
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True, help="Parquet of outcomes, one a system")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="Parquet of answers, one a system")
    parser.add_argument("--quarantine", type=Path, required=True, help="Parquet of rows left out")
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    given = parser.parse_args()
    write_page(
        Report.model_validate_json(given.spec),
        json.loads(given.systems),
        given.baselines,
        given.metrics,
        given.comparisons,
        given.agreement,
        given.split,
        given.root,
        given.outcomes,
        given.predictions,
        given.quarantine,
        given.out,
    )


if __name__ == "__main__":
    run_step(main)
