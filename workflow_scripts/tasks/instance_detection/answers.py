"""Boxes by identity as a source writes them: a JSON object, possibly in a string, of lists of boxes."""

import json
from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource, Instance
from workflow_scripts.tasks.boxes.conventions import BoxConvention
from workflow_scripts.tasks.boxes.formats import convention_of, expected_boxes
from workflow_scripts.tasks.boxes.parsing import (
    cut_to_image,
    instances_text,
    learn_convention,
    misplaced,
    source_box,
    source_json,
)
from workflow_scripts.tasks.instance_detection.identities import identity_order
from workflow_scripts.tasks.options import NOTHING

MOST_IDENTITIES = 100
"""A subset with more identities than this has open ones: any will do."""

USUAL: BoxConvention = "xywh"
"""Where neither the questions nor the boxes tell: FLARE's chromosomes."""


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """How boxes are written (see `learn_convention`), and which identities there are."""
    boxes: list[object] = []
    identities: Counter[str] = Counter()
    for row in rows:
        try:
            by_identity = _boxes_by_identity(row.raw)
        except BadAnswer:
            continue
        boxes += [box for listed in by_identity.values() for box in listed]
        identities.update(identity.casefold() for identity in by_identity)
    if not rows:
        return []
    learned = [Learned("box_convention", *learn_convention([row.question for row in rows], boxes, USUAL))]
    if 0 < len(identities) <= MOST_IDENTITIES:
        count = identities.total()
        learned.append(Learned("labels", sorted(identities, key=identity_order), count, count))
    return learned


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Boxes in the convention of the configuration, of the question or of the subset, under its identities."""
    expected = expected_boxes(question, conventions, USUAL)
    known = conventions.get("labels")
    if known is None:
        return expected
    sources = (*expected.sources, FormatSource("labels", known.source))
    return expected._replace(labels=tuple(known.value), sources=sources)  # type: ignore[arg-type]


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """Lists of boxes by identity; the empty object says that nothing is there.

    Raises:
        BadAnswer: it is missing or of another type.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    convention = convention_of(expected)
    instances = tuple(
        Instance(identity, source_box(box, convention))
        for identity, listed in _boxes_by_identity(raw).items()
        for box in listed
    )
    return Answer(instances_text(instances, convention), instances=instances)


def _boxes_by_identity(raw: object) -> dict[str, list[object]]:
    """The boxes by identity; a bare box counts as a list of one."""
    value = source_json(raw)
    if not isinstance(value, dict):
        raise BadAnswer("wrong_answer_type", f"expected an object of boxes by class, found {type(value).__name__}")
    by_identity = {}
    for identity, boxes in value.items():
        if not isinstance(boxes, list):
            raise BadAnswer("wrong_answer_type", f"class {identity[:20]!r} holds no list of boxes")
        nested = any(isinstance(box, list) for box in boxes) or not boxes
        by_identity[identity.strip()] = boxes if nested else [boxes]
    return by_identity


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """The first box that cannot lie in the image."""
    details = (misplaced(instance.box, width, height) for instance in answer.instances or ())
    return next((Fault("invalid_box", detail) for detail in details if detail), None)


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Corners in order, boxes cut to the image; None if nothing is left of one."""
    boxes = [(i.identity, cut_to_image(i.box, width, height)) for i in answer.instances or ()]
    cut = tuple(Instance(identity, box) for identity, box in boxes if box is not None)
    if len(cut) < len(boxes):
        return None
    return Answer(instances_text(cut, convention_of(expected)), instances=cut)
