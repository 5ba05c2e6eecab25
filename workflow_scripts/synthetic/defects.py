"""The defects that are planted in the toy dataset, named as the audit names them.

A planted row carries the key `_planted` with the kind; the writer takes it out and notes the row's place.
"""

import json
from collections.abc import Callable

import numpy as np

from workflow_scripts.synthetic.subsets import Drawn

PLANTED = "_planted"
LAST_FILE = "_last_file"
CORRUPT = "_corrupt"


def _copy(row: dict, kind: str | None, **changes: object) -> dict:
    copy = {**row, **changes}
    return copy if kind is None else {**copy, PLANTED: kind}


def _fresh(drawn: Drawn, source: int, name: str) -> str:
    """An image of its own for a planted row: the source's, one pixel changed, so that no hash repeats."""
    names = drawn.rows[source]["ImageName"]
    image = drawn.images[names if isinstance(names, str) else names[0]].copy()
    image.putpixel((0, 0), (1, 2, len(drawn.images) % 256))
    drawn.images[name] = image
    return name


def moles(train: Drawn, validation: Drawn) -> None:
    for i in range(2):
        train.rows.append(_copy(train.rows[i], "missing_image", ImageName=f"mole_lost_{i}.png"))
    validation.rows.append(_copy(validation.rows[0], "missing_image", ImageName="mole_lost.png"))
    name = _fresh(train, 0, "mole_extra.png")
    train.rows.append(_copy(train.rows[0], "answer_not_an_option", ImageName=name, Answer="Z"))


def polyps(train: Drawn, validation: Drawn) -> None:
    for i, answer in enumerate(("T", "A B")):
        name = _fresh(train, i, f"case{8000 + i}_frame1.png")
        train.rows.append(_copy(train.rows[i], "answer_not_an_option", ImageName=[name], Answer=answer))
    names = [*train.rows[2]["ImageName"], "case0003_frame9.png"]
    train.rows.append(_copy(train.rows[2], "missing_image", ImageName=names))


def chestfindings(train: Drawn, validation: Drawn) -> None:
    train.rows.append(_copy(train.rows[0], "missing_image", ImageName="chest_lost.png"))
    for how in ("cut", "text"):
        name = _fresh(train, 1, f"chest_{how}.png")
        train.rows.append(_copy(train.rows[1], "unreadable_image", ImageName=name))
        train.images[name].info[CORRUPT] = how


def fundus(train: Drawn, validation: Drawn) -> None:
    name = _fresh(train, 0, "fundus_extra.png")
    train.rows.append(_copy(train.rows[0], "unknown_task", ImageName=name, TaskType="Segmentation"))


def massfind(train: Drawn, validation: Drawn) -> None:
    for i, answer in enumerate(([[80, 70, 40, 30]], [[90, 90, 150, 160]], "[[10, 10, NaN, 40]]", [[4, 8, 60]])):
        name = _fresh(train, i, f"mass_extra_{i}.png")
        train.rows.append(_copy(train.rows[i], "invalid_box", ImageName=name, Answer=answer))
    for i in range(2):
        row = validation.rows[i]
        name = f"mass_again_{i}.png"
        train.images[name] = validation.images[row["ImageName"]]
        train.rows.append(_copy(row, "leaked_image", ImageName=name))


def fetal(train: Drawn, validation: Drawn) -> None:
    # Rows come in pairs, detection first.
    name = _fresh(train, 0, "plane_extra.png")
    train.rows.append(_copy(train.rows[0], "invalid_box", ImageName=name, Answer=[[20, 20, 0, 30]]))
    name = _fresh(train, 2, "plane_swapped.png")
    symphysis = train.rows[2]["Question"].replace("fetal head", "pubic symphysis")
    train.rows.append(_copy(train.rows[2], "swapped_boxes", ImageName=name, Answer=[[8, 8, 36, 36]]))
    train.rows.append(
        _copy(train.rows[2], "swapped_boxes", ImageName=name, Question=symphysis, Answer=[[40, 40, 60, 60]])
    )


def chromosomes(train: Drawn, validation: Drawn) -> None:
    name = _fresh(train, 0, "karyo_extra_0.png")
    train.rows.append(_copy(train.rows[0], "invalid_box", ImageName=name, Answer=json.dumps({"1": [[8, 8, -32, 32]]})))
    name = _fresh(train, 1, "karyo_extra_1.png")
    train.rows.append(_copy(train.rows[1], "wrong_answer_type", ImageName=name, Answer="two of class 1"))


def resorption(train: Drawn, validation: Drawn) -> None:
    for i, (kind, answer) in enumerate((("outlier", 2085.0), ("no_answer", "None"))):
        name = _fresh(train, i, f"bone_extra_{i}.png")
        train.rows.append(_copy(train.rows[i], kind, ImageName=name, Answer=answer))


def cells(train: Drawn, validation: Drawn) -> None:
    for i, (kind, answer) in enumerate((("no_answer", None), ("invalid_number", "many"))):
        name = _fresh(train, i, f"cells_extra_{i}.png")
        train.rows.append(_copy(train.rows[i], kind, ImageName=name, Answer=answer))
    for i in (0, 2):  # of the first file; the later row is the duplicate
        train.rows.append({**_copy(train.rows[i], "duplicate"), LAST_FILE: True})


def periapex(train: Drawn, validation: Drawn) -> None:
    row = train.rows[0]
    other = "Crown" if row["Answer"] != "Crown" else "Caries"
    train.rows[0] = _copy(row, "contradiction")
    train.rows.append(_copy(row, "contradiction", Answer=other))


def chestreport(train: Drawn, validation: Drawn) -> None:
    case = validation.rows[0]["ImageName"][0].split("_")[0]
    name = _fresh(train, 0, f"{case}_lateral2.png")
    train.rows.append(_copy(train.rows[0], "leaked_case", ImageName=[name]))


PLANTS: dict[str, Callable[[Drawn, Drawn], None]] = {
    "moles": moles,
    "polyps": polyps,
    "chestfindings": chestfindings,
    "fundus": fundus,
    "massfind": massfind,
    "fetal": fetal,
    "chromosomes": chromosomes,
    "resorption": resorption,
    "cells": cells,
    "periapex": periapex,
    "chestreport": chestreport,
}
"""What is planted in which subset; `density` gets a validation file without answers beside the one with."""


def spoil(data: bytes, how: str) -> bytes:
    """An image's bytes, damaged: cut short, or replaced by text."""
    return data[: len(data) // 2] if how == "cut" else b"<html>404 Not Found</html>"


def generator(seed: int, name: str, folder: str) -> np.random.Generator:
    """The random generator of one subset's folder; others do not disturb it."""
    return np.random.default_rng([seed, *f"{folder}/{name}".encode()])
