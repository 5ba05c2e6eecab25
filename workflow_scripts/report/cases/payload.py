"""The data of the case browser: a columnar index for filters and sorting, and texts in compressed chunks.

The index is one JSON object whose columns have one entry a case. Scores are thousandths, levels, outcomes and signs are
small integers: a filter over 20,000 cases reads arrays. Everything else of a case (texts, boxes, findings) lies in
chunks of `CHUNK` cases, gzip in base64, which the browser unpacks when a case is shown or its text is searched.
"""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from workflow_scripts.core.answers import final_answer
from workflow_scripts.core.pages import cut, script_json
from workflow_scripts.core.pages.texts import metric_label
from workflow_scripts.core.rows import JudgedFinding, Outcome, Row
from workflow_scripts.core.saliency.boxes import image_of_boxes
from workflow_scripts.report.cases.boxes import RowBoxes, has_boxes, reference_boxes, row_boxes
from workflow_scripts.report.cases.findings import ReportDetails
from workflow_scripts.report.cases.images import StoredImages
from workflow_scripts.report.cases.scores import LEVELS, Key, RowScores
from workflow_scripts.report.summary.seen import SeenRows
from workflow_scripts.tasks.report.metrics import EFFICACY_COUNTS

CHUNK = 200
"""Cases of a chunk."""
SNIPPET = 90
"""Characters of a question, or a finding, in the list."""
LONGEST = 20_000
"""Characters of a text that the page holds; of longer ones it says how long they are."""
LONGEST_NAME = 1_000
"""The same of what is one line: an option, a finding, a note, the identity of a box."""

OUTCOMES = ("valid", "malformed", "refused", "looping", "truncated", "missing")

FAULTS: dict[str, Callable[[JudgedFinding], bool]] = {
    "a missing finding": lambda finding: finding.fate == "missing",
    "a false finding": lambda finding: finding.fate == "false",
    "a finding with a wrong attribute": lambda finding: bool(finding.errors),
}
"""What the list shows of a report instead of its question, in the order of preference; each is one of `SIGNS`."""

SIGNS = {
    "a false box": 1,
    "a missed box": 2,
    "a missing finding": 4,
    "a false finding": 8,
    "a finding with a wrong attribute": 16,
    "a row that its training saw": 32,
    "a row whose look-alike its training saw": 64,
}
"""What a case can be looked up by, each a bit of a system's signs."""


@dataclass(frozen=True)
class CaseData:
    """What the case browser shows of a split."""

    rows: Sequence[Row]
    systems: Sequence[str]
    outcomes: Mapping[Key, Outcome]
    scores: RowScores
    details: ReportDetails
    seen: SeenRows
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by uid, see report.saliency.overlays

    def outcome(self, row: Row, system: str) -> Outcome:
        """What became of a system's answer to a row."""
        return self.outcomes[row.uid, system]


@dataclass(frozen=True)
class Payload:
    """Elements for the page: the index and chunks as JSON, and images inside the page as base64."""

    index: Markup
    chunks: list[str]
    images: list[tuple[str, str]]  # media type and base64, by the image's number
    signs: Mapping[str, list[str]]  # by system, the `SIGNS` that any of its answers bears


def payload_of(data: CaseData, stored: Future[StoredImages], facts: Mapping[str, Any]) -> Payload:
    """The data of the case browser.

    Args:
        data: the cases, in the order of the list.
        stored: their images, in the order of `image_paths`, which may still be scaled meanwhile.
        facts: what the browser knows besides: colours, labels, the systems to compare first.
    """
    numbers = {sha256: number for number, sha256 in enumerate(image_paths(data.rows))}
    signs: dict[str, list[int]] = {system: [] for system in data.systems}
    chunks = []
    for start in range(0, len(data.rows), CHUNK):
        cases = []
        for row in data.rows[start : start + CHUNK]:
            case, of_systems = _case(data, row, numbers)
            cases.append(case)
            for system, sign in zip(data.systems, of_systems, strict=True):
                signs[system].append(sign)
        chunks.append(_packed(cases))
    images = stored.result()
    texts: dict[str, int] = {}
    answers = [
        _answer_columns(data, system, signs[system]) | {"faults": _faults(data, system, texts)}
        for system in data.systems
    ]
    index = {
        **facts,
        "systems": list(data.systems),
        "levels": LEVELS,
        "outcomes": OUTCOMES,
        "signs": SIGNS,
        "chunk": CHUNK,
        "files": list(images.files.values()),
        "columns": _columns(data),
        "answers": answers,
        "findings": list(texts),
    }
    borne = {
        system: [name for name, bit in SIGNS.items() if any(sign & bit for sign in of_cases)]
        for system, of_cases in signs.items()
    }
    return Payload(script_json(index), chunks, list(images.inside.values()), borne)


def _columns(data: CaseData) -> dict[str, Any]:
    """The index's columns that hold one value a case: values, and each case's place among them."""
    values = {
        "task": [row.task for row in data.rows],
        "subset": [row.subset for row in data.rows],
        "modality": [row.modality for row in data.rows],
        "stem": [row.uid.rpartition("/")[0] for row in data.rows],
        "tail": [row.uid.rpartition("/")[2] for row in data.rows],
        "snippet": [_snippet(row.question) for row in data.rows],
    }
    coded = {}
    for name, column in values.items():
        places = {value: place for place, value in enumerate(dict.fromkeys(column))}
        coded[name] = {"values": list(places), "places": [places[value] for value in column]}
    return coded


def _snippet(text: str) -> str:
    text = " ".join(text[: 4 * SNIPPET].encode("utf-8", "replace").decode("utf-8").split())
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def _answer_columns(data: CaseData, system: str, signs: list[int]) -> dict[str, Any]:
    """The index's columns of one system; the score is -1 where it is not known."""
    outcomes = [data.outcome(row, system) for row in data.rows]
    scores = [data.scores.score((row.uid, system)) for row in data.rows]
    errors = [data.scores.error((row.uid, system)) for row in data.rows]
    return {
        "score": [-1 if score is None else round(1000 * score) for score in scores],
        "level": [LEVELS.index(data.scores.level(outcome)) for outcome in outcomes],
        "outcome": [OUTCOMES.index(outcome.outcome) for outcome in outcomes],
        "error": [None if error is None else _rounded(error) for error in errors],
        "signs": signs,
    }


def _faults(data: CaseData, system: str, texts: dict[str, int]) -> dict[str, dict[int, list[int]]]:
    """By fault of `FAULTS` and case: the first such finding, as its place among `texts`, and how many more there are.

    Args:
        data: the cases.
        system: whose answers.
        texts: of the findings of all systems, each with its place; those of this system are added.
    """
    faults: dict[str, dict[int, list[int]]] = {name: {} for name in FAULTS}
    for place, row in enumerate(data.rows):
        for finding in data.details.findings.get((row.uid, system), ()):
            for name, holds in FAULTS.items():
                if not holds(finding):
                    continue
                if place in faults[name]:
                    faults[name][place][1] += 1
                else:
                    text = _snippet(finding.finding) + (f" ({_snippet(finding.errors[0])})" if finding.errors else "")
                    faults[name][place] = [texts.setdefault(text, len(texts)), 0]
    return faults


def _rounded(number: float) -> float | None:
    """Six significant digits; JSON knows no infinity."""
    return float(f"{number:.6g}") if abs(number) < 1e300 else None


def _packed(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0)).decode("ascii")


def _text(text: str) -> Any:
    """A text, or the beginning of a long one with its length."""
    clean = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no UTF-8
    return clean if len(clean) <= LONGEST else {"start": clean[:LONGEST], "length": len(clean)}


def _name(text: str) -> str:
    """A text of one line, cut where it is very long; halves of surrogate pairs are replaced."""
    return cut(text.encode("utf-8", "replace").decode("utf-8"), LONGEST_NAME)


def _name_or_none(text: str | None) -> str | None:
    return None if text is None else _name(text)


def _case(data: CaseData, row: Row, numbers: Mapping[str, int]) -> tuple[dict[str, Any], list[int]]:
    """One case of a chunk, and the signs of each system's answer."""
    boxed = has_boxes(row)
    answers, signs = [], []
    for system in data.systems:
        outcome = data.outcome(row, system)
        boxes = row_boxes(row, outcome) if boxed else None
        findings = data.details.findings.get((row.uid, system), [])
        answers.append(_answer(data, row, outcome, boxes, findings))
        seen = row.uid in data.seen.same.get(system, ()), row.uid in data.seen.alike.get(system, ())
        signs.append(_signs(boxes, findings, *seen))
    case = {
        "case": _name(row.case_id),
        "question": _text(row.question),
        "reference": _text(row.answer),
        "meant": _meant(row, list(row.labels or ())),
        "images": [
            [numbers[image.sha256], image.width, image.height, *([image.role] if image.role else [])]
            for image in row.images
        ],
        "answers": answers,
    }
    if boxed:
        case |= {
            "boxed": image_of_boxes(row),
            "boxes": [[_name_or_none(box.identity), *map(_rounded, box.corners)] for box in reference_boxes(row)],
        }
    if row.uid in data.maps:
        case |= data.maps[row.uid]
    if row.notes:
        case["notes"] = [_name(note) for note in row.notes]
    return case, signs


def _answer(
    data: CaseData, row: Row, outcome: Outcome, boxes: RowBoxes | None, findings: Sequence[JudgedFinding]
) -> dict[str, Any]:
    """What a case shows of one system; what is empty is left out."""
    answer: dict[str, Any] = {"text": None if outcome.text is None else _text(outcome.text)}
    if outcome.text is not None and (final := _text_for_readers(outcome)) is not None:
        answer["final"] = _text(final)
        answer["cut"] = outcome.thought
    if outcome.box_fault is not None:
        answer["fault"] = _name(outcome.box_fault)
    if outcome.strict is None and outcome.lenient is not None:
        answer["lenient"] = _text(outcome.lenient)
    if meant := _meant(row, outcome.strict and json.loads(outcome.strict)):
        answer["meant"] = meant
    if outcome.samples is not None:
        answer["samples"] = _samples(json.loads(outcome.samples))
    if boxes is not None:
        answer["boxes"] = [
            [_name_or_none(one.box.identity), *map(_rounded, one.box.corners), round(one.overlap, 3), one.matched]
            for one in boxes.predicted
        ]
        answer["missed"] = [place for place, one in enumerate(boxes.reference) if one.matched is False]
    if findings:
        answer["findings"] = [
            [one.judge, one.side, _name(one.finding), _name(one.significance), one.fate, [*map(_name, one.errors)]]
            for one in findings
        ]
    scores = data.details.scores.get((row.uid, outcome.system), [])
    if shown := [score for score in scores if score.metric not in EFFICACY_COUNTS]:
        answer["scores"] = [
            [metric_label(score.metric, score.judge), None if score.value is None else round(score.value, 3)]
            + ([score.status] if score.status != "valid" else [])
            for score in shown
        ]
    return answer


def _samples(values: Sequence[object]) -> list[list[Any]]:
    """What several answers are read as and how many so, the commonest first; None: cannot be read."""
    read = (None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values)
    return [[_name_or_none(value), count] for value, count in Counter(read).most_common()]


def _text_for_readers(outcome: Outcome) -> str | None:
    """What is read of an answer, where that is another text than the model wrote: without thoughts, or with the boxes
    of the model's own form carried back to the row's; None where it is the answer itself."""
    own = final_answer(outcome.text or "").text
    text = own if outcome.answer is None else outcome.answer
    return text if outcome.thought or text != own else None


def _meant(row: Row, value: object) -> list[str]:
    """The texts of the options that letters stand for."""
    texts = {option.letter: option.text for option in row.expected.options}
    letters = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [_name(f"{letter}: {texts[letter]}") for letter in letters if isinstance(letter, str) and letter in texts]


def _signs(boxes: RowBoxes | None, findings: Sequence[JudgedFinding], seen: bool, alike: bool) -> int:
    """The bits of `SIGNS` that hold for an answer."""
    holds = {
        "a false box": boxes is not None and boxes.false > 0,
        "a missed box": boxes is not None and boxes.missed > 0,
        **{name: any(map(fault, findings)) for name, fault in FAULTS.items()},
        "a row that its training saw": seen,
        "a row whose look-alike its training saw": alike,
    }
    return sum(bit for name, bit in SIGNS.items() if holds[name])


def image_paths(rows: Sequence[Row]) -> dict[str, str]:
    """The path of each distinct image by its SHA-256, in the order of the rows."""
    return {image.sha256: image.path for row in rows for image in row.images}
