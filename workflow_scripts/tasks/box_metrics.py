"""Detection and instance detection: pooled F1 over greedily matched boxes, and the study's coordinate errors.

An answer that cannot be read proposes no box: every gold box of its row is missed.
"""

import numpy as np

from workflow_scripts.core.metrics import Answer, Facts, Measure, Sums, count_facts, ratio, wrong_format
from workflow_scripts.tasks.box_matching import matched, overlaps
from workflow_scripts.tasks.expected import Box

DETECTION_OVERLAP = 0.5
IDENTITY_OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
COORDINATES = ("x", "y", "width", "height")


def detection_facts(answers: list[Answer]) -> Facts:
    """Matched, gold and predicted boxes of each row at overlap 0.5, and coordinate errors of single boxes."""
    columns = count_facts(answers)
    measures = []
    for suffix, said in (("", [a.strict for a in answers]), ("_lenient", [a.lenient for a in answers])):
        boxes = [value or [] for value in said]
        pairs = list(zip(answers, boxes, strict=True))
        columns["hits" + suffix] = np.array(
            [matched(overlaps(answer.gold, found), DETECTION_OVERLAP) for answer, found in pairs], dtype=float
        )
        columns["named" + suffix] = np.array([len(found) for found in boxes], dtype=float)
        rule = "own" if suffix else "2026"
        measures += _f1_measures("50", suffix, "hits" + suffix, "gold", "named" + suffix, rule, primary=not suffix)
        if suffix:
            # FLARE 2025 reads leniently and gives the turns to the predicted boxes.
            columns["hits_2025"] = np.array(
                [matched(overlaps(answer.gold, found).T, DETECTION_OVERLAP) for answer, found in pairs], dtype=float
            )
            measures += _f1_measures("50", "_2025", "hits_2025", "gold", "named_lenient", "2025", primary=False)
    columns["gold"] = np.array([len(answer.gold) for answer in answers], dtype=float)
    single = [
        (answer.gold[0], answer.lenient[0])
        if answer.lenient is not None and len(answer.lenient) == len(answer.gold) == 1
        else None
        for answer in answers
    ]
    columns |= _coordinate_facts([[pair] if pair else [] for pair in single])
    return Facts(columns, [*measures, *_coordinate_measures("unread_lenient"), wrong_format()])


def instance_facts(answers: list[Answer]) -> Facts:
    """Boxes matched within each identity at five overlaps, per identity, and coordinate errors of paired boxes."""
    columns = count_facts(answers)
    identities = sorted({identity for answer in answers for identity in answer.gold}, key=_identity_order)
    columns["gold"] = np.array([_sizes(answer.gold, identities) for answer in answers]).reshape(len(answers), -1)
    columns["gold_all"] = columns["gold"].sum(axis=1)
    measures = []
    for suffix, said in (("", [a.strict for a in answers]), ("_lenient", [a.lenient for a in answers])):
        found = [value or {} for value in said]
        hits = np.zeros((len(IDENTITY_OVERLAPS), len(answers), len(identities)))
        for row, (answer, boxes) in enumerate(zip(answers, found, strict=True)):
            for column, identity in enumerate(identities):
                shared = overlaps(answer.gold.get(identity, []), boxes.get(identity, []))
                if shared.size:
                    hits[:, row, column] = [matched(shared.T, threshold) for threshold in IDENTITY_OVERLAPS]
        columns["named" + suffix] = np.array([_sizes(boxes, identities) for boxes in found]).reshape(len(answers), -1)
        # Identities that no gold row has count as predicted too.
        columns["named_all" + suffix] = np.array([sum(map(len, boxes.values())) for boxes in found], dtype=float)
        for place, threshold in enumerate(IDENTITY_OVERLAPS):
            columns[f"hits{threshold}{suffix}"] = hits[place]
        measures += _instance_measures(identities, suffix)
    columns |= _coordinate_facts([_paired(answer) for answer in answers])
    return Facts(columns, [*measures, _pooled_r2("unread_lenient"), wrong_format()])


def _identity_order(identity: str) -> tuple[int, str]:
    return (int(identity), "") if identity.isascii() and identity.isdigit() else (10**9, identity)


def _sizes(boxes: dict[str, list[Box]], identities: list[str]) -> list[float]:
    return [float(len(boxes.get(identity, []))) for identity in identities]


def _f1_measures(
    threshold: str, suffix: str, hits: str, gold: str, named: str, rule: str, *, primary: bool
) -> list[Measure]:
    def total(s: Sums, name: str) -> np.ndarray:
        return s[name].sum(axis=-1) if name.startswith("hits0") else s[name]

    unread = "unread_lenient" if suffix == "_2025" else "unread" + suffix
    return [
        Measure(
            f"f1_{threshold}{suffix}",
            lambda s: ratio(2 * total(s, hits), s[gold] + s[named], empty=1.0),
            "higher",
            rule,
            primary=primary,
            unread=unread,
        ),
        Measure(
            f"precision_{threshold}{suffix}",
            lambda s: ratio(total(s, hits), s[named], empty=0.0),
            "higher",
            rule,
            unread=unread,
        ),
        Measure(
            f"recall_{threshold}{suffix}",
            lambda s: ratio(total(s, hits), s[gold], empty=0.0),
            "higher",
            rule,
            unread=unread,
        ),
    ]


def _instance_measures(identities: list[str], suffix: str) -> list[Measure]:
    rule = "own" if suffix else "2025"
    named = "named_all" + suffix

    def mean_over(wanted: float, said: float):
        """Mean over overlaps of hits / (wanted·gold + said·named): F1 by halves, recall and precision by ones."""

        def finish(s: Sums) -> np.ndarray:
            whole = wanted * s["gold_all"] + said * s[named]
            empty = 1.0 if wanted and said else 0.0
            return np.mean(
                [ratio(s[f"hits{t}{suffix}"].sum(axis=-1), whole, empty=empty) for t in IDENTITY_OVERLAPS], axis=0
            )

        return finish

    def of_identity(place: int):
        return lambda s: ratio(
            2 * s[f"hits{IDENTITY_OVERLAPS[0]}{suffix}"][..., place],
            s["gold"][..., place] + s["named" + suffix][..., place],
            empty=1.0,
        )

    measures = _f1_measures("30", suffix, f"hits0.3{suffix}", "gold_all", named, rule, primary=not suffix)
    measures += _f1_measures("50", suffix, f"hits0.5{suffix}", "gold_all", named, rule, primary=False)
    measures += [
        Measure(f"{name}_30_to_70{suffix}", mean_over(wanted, said), "higher", rule, unread="unread" + suffix)
        for name, wanted, said in (("f1", 0.5, 0.5), ("precision", 0.0, 1.0), ("recall", 1.0, 0.0))
    ]
    measures += [
        Measure(f"f1_30{suffix}[{identity}]", of_identity(place), "higher", rule, unread="unread" + suffix)
        for place, identity in enumerate(identities)
    ]
    return measures


def _paired(answer: Answer) -> list[tuple[Box, Box]]:
    """Boxes of one identity in the order in which they are listed, as far as both sides go."""
    said = answer.lenient or {}
    return [
        pair for identity, boxes in answer.gold.items() for pair in zip(boxes, said.get(identity, []), strict=False)
    ]


def _sized(box: Box) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _coordinate_facts(pairs: list[list[tuple[Box, Box]]]) -> dict[str, np.ndarray]:
    """Per row and coordinate: number of pairs, absolute and squared error, gold value and its square (pixels)."""
    facts = {name: np.zeros((len(pairs), 4)) for name in ("pairs", "distance", "square", "place", "place_square")}
    for row, found in enumerate(pairs):
        for gold, said in found:
            truth, guess = np.array(_sized(gold)), np.array(_sized(said))
            facts["pairs"][row] += 1
            facts["distance"][row] += np.abs(truth - guess)
            facts["square"][row] += (truth - guess) ** 2
            facts["place"][row] += truth
            facts["place_square"][row] += truth**2
    return facts


def _r2(square: np.ndarray, place: np.ndarray, place_square: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    spread = place_square - ratio(place**2, pairs, empty=0.0)
    return 1.0 - ratio(square, np.where(spread > 1e-9, spread, 0.0))


def _pooled_r2(unread: str) -> Measure:
    """R² over x, y, width and height of all paired boxes together, as the study pools them."""
    return Measure(
        "box_r2",
        lambda s: _r2(*(s[name].sum(axis=-1) for name in ("square", "place", "place_square", "pairs"))),
        "higher",
        "study",
        unread=unread,
    )


def _coordinate_measures(unread: str) -> list[Measure]:
    measures = [_pooled_r2(unread)]
    for place, name in enumerate(COORDINATES):

        def at(s: Sums, fact: str, place: int = place) -> np.ndarray:
            return s[fact][..., place]

        measures += [
            Measure(
                f"box_mae_{name}", lambda s, at=at: ratio(at(s, "distance"), at(s, "pairs")), "lower", "study",
                unread=unread,
            ),
            Measure(
                f"box_mse_{name}", lambda s, at=at: ratio(at(s, "square"), at(s, "pairs")), "lower", "study",
                unread=unread,
            ),
            Measure(
                f"box_rmse_{name}", lambda s, at=at: np.sqrt(ratio(at(s, "square"), at(s, "pairs"))), "lower", "study",
                unread=unread,
            ),
            Measure(
                f"box_r2_{name}",
                lambda s, at=at: _r2(at(s, "square"), at(s, "place"), at(s, "place_square"), at(s, "pairs")),
                "higher",
                "study",
                unread=unread,
            ),
        ]  # fmt: skip
    return measures
