"""Turn admissions of MIMIC-IV-Ext CDM into the table that the preset `mimic-cdm` reads.

`python -m workflow_scripts.data.sources.table_admissions --info appendicitis.json … --labels L.csv --out DIR`

The framework of that set (github.com/paulhager/MIMIC-Clinical-Decision-Making-Framework) keeps admissions in pickles,
PATHOLOGY_hadm_info_first_diag.pkl. No pickle is read here; docs/howto/clinical.md says how its own environment writes
them as JSON. What a model is shown is what that framework shows in full-information mode: history, examination, the
laboratory items that bear on the pathology or are neutral, and reports of images of the abdomen.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import BadFile, loads, sha256_of
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines

NOTHING = "none"
"""What a row says of a part that an admission lacks: a question with an empty part is none."""

Labels = dict[int, tuple[str, str]]
"""Label and fluid of a laboratory item."""


def write_table_admissions(
    *, info: tuple[Path, ...], out: Path, labels: Path | None = None, examples: float = 0.1
) -> str:
    """Write cases.jsonl and examples.jsonl, a line an admission.

    Args:
        info: JSON files of admissions by their id; a file's name begins with its pathology.
        out: folder to write.
        labels: CSV of laboratory items with the columns itemid, label and fluid; null: the labels known here.
        examples: share of the patients' admissions that are never scored, drawn by their ids.

    Returns:
        how many admissions each file holds.

    Raises:
        Refused: a file's name does not begin with a known pathology, or the share is not from 0 to 1.
        BadFile: a file is not as it should be.
    """
    if not 0 <= examples < 1:
        raise Refused(f"examples is {examples:g}; expected a share from 0 to less than 1")
    known = labels_of(labels)
    lines: dict[str, list[str]] = {"cases.jsonl": [], "examples.jsonl": []}
    for path in info:
        pathology = _pathology(path)
        for key, admission in _admissions(path):
            name = "examples.jsonl" if int(sha256_of(key.encode())[:8], 16) < examples * 2**32 else "cases.jsonl"
            lines[name].append(json.dumps(_row(path, key, admission, pathology, known), ensure_ascii=False))
    out.mkdir(parents=True, exist_ok=True)
    for name, written in lines.items():
        (out / name).write_text("".join(f"{line}\n" for line in written), encoding="utf-8")
    return f"{len(lines['cases.jsonl'])} cases, {len(lines['examples.jsonl'])} examples"


def labels_of(path: Path | None) -> Labels:
    """Label and fluid of each laboratory item.

    Raises:
        BadFile: the table cannot be read, or lacks a column.
    """
    known: Labels = {item: (label, "") for item, label in guidelines().labels.items()}
    if path is None:
        return known
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for row in csv.DictReader(stream):
                if (item := row["itemid"].strip()).isdigit():
                    known[int(item)] = (row["label"].strip(), row["fluid"].strip())
    except KeyError as error:
        raise BadFile(f"{path} has no column {error}; expected itemid, label and fluid") from None
    except (OSError, ValueError, csv.Error) as error:
        raise BadFile(f"{path} cannot be read: {error}") from None
    return known


def _pathology(path: Path) -> str:
    pathologies = guidelines().pathologies
    pathology = next((name for name in pathologies if path.name.lower().startswith(name)), None)
    if pathology is None:
        raise Refused(f"{path}: the name begins with none of {', '.join(pathologies)}; rename the file")
    return pathology


def _admissions(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        given = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(
            f"{path} is not JSON that can be read: {error}; export it as docs/howto/clinical.md says"
        ) from None
    if not isinstance(given, dict) or not given or not all(isinstance(value, dict) for value in given.values()):
        raise BadFile(f"{path} is no JSON object of admissions by their id")
    yield from given.items()


def _row(path: Path, key: str, admission: Mapping[str, Any], pathology: str, labels: Labels) -> dict[str, Any]:
    """The line of an admission; raises BadFile."""

    def text(name: str) -> str:
        value = admission.get(name)
        if not isinstance(value, str):
            raise BadFile(f"{path}, admission {key}: {name!r} is {type(value).__name__}, expected a text")
        return value.strip() or NOTHING

    return {
        "case": key,
        "history": text("Patient History"),
        "examination": text("Physical Examination"),
        "laboratory": "\n".join(_laboratory(admission, pathology, labels)) or NOTHING,
        "imaging": "\n\n".join(_imaging(admission)) or NOTHING,
        "pathology": pathology,
        "outcome": {
            "pathology": pathology,
            "discharge_diagnosis": text("Discharge Diagnosis"),
            "icd_diagnoses": admission.get("ICD Diagnosis") or [],
            "procedures_icd9": admission.get("Procedures ICD9") or [],
            "procedures_icd10": admission.get("Procedures ICD10") or [],
            "procedures_discharge": admission.get("Procedures") or [],
        },
    }


def _laboratory(admission: Mapping[str, Any], pathology: str, labels: Labels) -> Iterator[str]:
    """A line a result with its reference range: needed items first, then neutral ones."""
    guideline = guidelines().pathologies[pathology]
    needed = dict.fromkeys(item for items in guideline.laboratory.values() for item in items)
    results, lower, upper = (
        {int(item): value for item, value in (admission.get(name) or {}).items() if str(item).isdigit()}
        for name in ("Laboratory Tests", "Reference Range Lower", "Reference Range Upper")
    )
    for item in [*needed, *sorted(guidelines().neutral(pathology) - needed.keys())]:
        if item not in results:
            continue
        label, fluid = labels.get(item, (f"item {item}", ""))
        span = ""
        if _is_known(lower.get(item)) and _is_known(upper.get(item)):
            span = f" (range {lower[item]:g} to {upper[item]:g})"
        yield f"{f'({fluid}) ' if fluid else ''}{label}: {results[item]}{span}"


def _is_known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _imaging(admission: Mapping[str, Any]) -> Iterator[str]:
    for report in admission.get("Radiology") or []:
        if isinstance(report, dict) and report.get("Region") == "Abdomen":
            yield f"{report.get('Modality', '')} of the abdomen\n{str(report.get('Report', '')).strip()}".strip()


if __name__ == "__main__":
    run_step(write_table_admissions)
