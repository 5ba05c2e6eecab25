"""The subsets of the toy dataset: images whose content determines the answer, under questions in FLARE's style.

Every function draws `count` cases and numbers their images from `first`, so that no two split folders share a
name. Rows have FLARE's fields; `ImageName` holds bare names, the writer puts the folder before them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from workflow_scripts.synthetic import terms
from workflow_scripts.synthetic.drawing import SHAPES, Box, Mark, canvas, cell_boxes, draw_mark, random_box

SIDE = 112
FRAME: Box = (0, 0, SIDE, SIDE)
DIAGNOSIS = "Which diagnosis fits this image?"
FINDINGS = "Which findings are present?"


@dataclass
class Drawn:
    """Images by name, and the rows that ask about them."""

    images: dict[str, Image.Image] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)

    def ask(self, task: str, modality: str, names: str | list[str], question: str, answer: object) -> None:
        """Add a row in FLARE's fields."""
        self.rows.append(
            {"TaskType": task, "Modality": modality, "ImageName": names, "Question": question, "Answer": answer}
        )


def _thumbnail(
    rng: np.random.Generator, marks: list[Mark], tint: tuple[int, int, int], width: int = SIDE
) -> Image.Image:
    image = canvas(rng, width, SIDE, tint)
    for mark in marks:
        draw_mark(image, mark)
    return image


def _pick(rng: np.random.Generator, items):
    return items[int(rng.integers(len(items)))]


def _large(rng: np.random.Generator, shape: str, colour: str) -> Mark:
    return Mark(shape, colour, random_box(rng, FRAME, 36, 64, square=True, step=4))


def _cells_of_nine(rng: np.random.Generator, count: int) -> list[Box]:
    """`count` boxes of 26 to 34 pixels in different cells of a 3 × 3 grid: large enough to tell shapes apart."""
    boxes = []
    for cell in rng.permutation(9)[:count]:
        row, column = divmod(int(cell), 3)
        area = (column * 37 + 1, row * 37 + 1, column * 37 + 36, row * 37 + 36)
        boxes.append(random_box(rng, area, 26, 34, square=True))
    return boxes


def moles(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Classification by letter: shape and colour of one mark; the classes are of unequal frequency."""
    drawn, tint = Drawn(), (50, 30, 25)
    kinds = [(shape, colour) for colour in ("red", "blue") for shape in ("disc", "ring", "square", "cross")]
    weights = np.array([0.2, 0.17, 0.15, 0.13, 0.11, 0.1, 0.08, 0.06])
    for i in range(first, first + count):
        kind = int(rng.choice(len(kinds), p=weights))
        name = f"mole_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, [_large(rng, *kinds[kind])], tint)
        question = terms.with_options(DIAGNOSIS, terms.SKIN, ").:"[i % 3])
        drawn.ask(_pick(rng, ("Classification", "classification")), "Dermatology", name, question, terms.LETTERS[kind])
    return drawn


def density(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Classification answered with words, two views a row: discs, triangles, or one of each."""
    drawn, tint = Drawn(), (20, 20, 24)
    shapes = (("disc", "disc"), ("triangle", "triangle"), ("disc", "triangle"))
    for i in range(first, first + count):
        kind = int(rng.integers(3))
        pair = shapes[kind] if rng.random() < 0.5 else shapes[kind][::-1]
        names = [f"D1-{i:04d}_{view}.png" for view in ("CC", "MLO")]
        for name, shape in zip(names, pair, strict=True):
            drawn.images[name] = _thumbnail(rng, [_large(rng, shape, "white")], tint)
        question = terms.with_options(DIAGNOSIS, terms.BREAST)
        drawn.ask("classification", "Mammography", names, question, terms.BREAST[kind])
    return drawn


def fundus(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Classification by letter: the grade is the number of red discs, none to four."""
    drawn, tint = Drawn(), (60, 30, 10)
    for i in range(first, first + count):
        grade = int(rng.integers(5))
        name = f"fundus_{i:05d}.png"
        marks = [Mark("disc", "red", box) for box in _cells_of_nine(rng, grade)]
        drawn.images[name] = _thumbnail(rng, marks, tint, width=128)
        question = terms.with_options(DIAGNOSIS, terms.FUNDUS, ".")
        drawn.ask("Classification", _pick(rng, ("Fundus", "Retinography")), name, question, terms.LETTERS[grade])
    return drawn


def chestfindings(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Multi-label with commas: each finding is a shape that is present, none to four of them."""
    drawn, tint = Drawn(), (30, 30, 36)
    for i in range(first, first + count):
        number = int(rng.choice(5, p=[0.06, 0.34, 0.3, 0.2, 0.1]))
        present = sorted(int(k) for k in rng.permutation(5)[:number])
        boxes = _cells_of_nine(rng, number)
        marks = [Mark(SHAPES[k], "white", box) for k, box in zip(present, boxes, strict=True)]
        name = f"chest_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, marks, tint)
        question = terms.with_labels(FINDINGS, terms.CHEST, ",")
        answer = ", ".join(terms.CHEST[k] for k in present) or _pick(rng, ("None", ""))
        task = _pick(rng, ("multi-label classification", "Multi-label Classification"))
        drawn.ask(task, _pick(rng, ("X-ray", "X-Ray")), name, question, answer)
    return drawn


def periapex(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Multi-label with semicolons, one label holding commas: each label is a colour that is present."""
    drawn, tint = Drawn(), (24, 28, 30)
    colours = ("red", "green", "blue", "yellow")
    for i in range(first, first + count):
        number = int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2]))
        present = sorted(int(k) for k in rng.permutation(4)[:number])
        boxes = _cells_of_nine(rng, number)
        marks = [Mark(_pick(rng, SHAPES), colours[k], box) for k, box in zip(present, boxes, strict=True)]
        name = f"tooth_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, marks, tint)
        question = terms.with_labels(FINDINGS, terms.TEETH, ";")
        drawn.ask("Multi-label Classification", "X-ray", name, question, "; ".join(terms.TEETH[k] for k in present))
    return drawn


def chest_marks(rng: np.random.Generator, findings: list[int]) -> list[Mark]:
    """The marks of a chest image: places, shapes and sizes that mean the sentences `findings` of `terms`."""

    def at(left: int, top: int, width: int, height: int) -> Box:
        dx, dy = int(rng.integers(0, 5)), int(rng.integers(0, 5))
        return (left + dx, top + dy, left + dx + width, top + dy + height)

    marks = {
        1: lambda: Mark("disc", "white", at(36, 38, 40, 40)),  # a large disc in the centre
        2: lambda: Mark("square", "white", at(0, 70, 36, 36)),  # images of chests show the right side on the left
        3: lambda: Mark("square", "white", at(82, 82, 24, 24)),
        4: lambda: Mark("ring", "white", at(2, 2, 32, 32)),
        5: lambda: Mark("triangle", "white", at(82, 2, 24, 60)),
    }
    return [marks[k]() for k in findings]


def report_text(findings: list[int]) -> str:
    """The report of a chest with `findings`: sentences of `terms` in their order, the heart first."""
    said = findings if 1 in findings or len(findings) > 1 else [0, *findings]
    return " ".join(terms.SENTENCES[k] for k in (said if findings else [0, 6]))


def chestreport(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Reports of one or two sentences; some cases have a lateral view as well, and two rows."""
    drawn, tint = Drawn(), (28, 28, 34)
    question = "Write the findings of this chest X-ray."
    case = first
    while len(drawn.rows) < count:
        number = int(rng.choice(3, p=[0.5, 0.25, 0.25]))
        findings = sorted(int(k) for k in 1 + rng.permutation(5)[:number])
        views = ("frontal", "lateral") if rng.random() < 0.4 else ("frontal",)
        names = [f"CXR{case}_{view}.png" for view in views]
        for name in names:
            drawn.images[name] = _thumbnail(rng, chest_marks(rng, findings), tint)
        answer = report_text(findings)
        drawn.ask("Report_Generation", "X-ray", names, question, answer)
        if len(views) == 2:
            drawn.ask("Report_Generation", "X-Ray", names[0], question, answer + " ")
        case += 1
    return drawn


def massfind(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Detection in corners: the red mark among two or three."""
    drawn, tint = Drawn(), (16, 20, 28)
    for i in range(first, first + count):
        boxes = [random_box(rng, FRAME, 32, 64, step=4) for _ in range(int(rng.integers(2, 4)))]
        others = [Mark(_pick(rng, SHAPES), _pick(rng, ("white", "green", "blue", "yellow")), box) for box in boxes[1:]]
        target = Mark(_pick(rng, ("disc", "square")), "red", boxes[0])
        name = f"mass_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, [*others, target], tint)
        question = f"Locate the mass. {terms.LOCATE_CORNERS}"
        drawn.ask(_pick(rng, ("Detection", "detection")), "Ultrasound", name, question, [list(target.box)])
    return drawn


def fetal(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Detection in corner and size, and classification, on the same images: where the yellow mark is, and which."""
    drawn, tint = Drawn(), (20, 24, 24)
    for i in range(first, first + count):
        kind = int(rng.integers(2))
        x1, y1, x2, y2 = random_box(rng, FRAME, 36, 64, step=4)
        target = Mark(("disc", "triangle")[kind], "yellow", (x1, y1, x2, y2))
        other = Mark(_pick(rng, SHAPES), _pick(rng, ("white", "blue")), random_box(rng, FRAME, 32, 48, step=4))
        name = f"plane_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, [other, target], tint)
        box = [x1, y1, x2 - x1, y2 - y1]
        answer = box if i % 4 == 0 else [box]
        drawn.ask("detection", "Ultrasound", name, f"Locate the fetal head. {terms.LOCATE_SIZE}", answer)
        question = terms.with_options(DIAGNOSIS, terms.PLANES)
        drawn.ask("Classification", "Ultrasound", name, question, terms.LETTERS[kind])
    return drawn


def cells(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Counting: the red discs among red and white ones."""
    drawn, tint = Drawn(), (40, 34, 44)
    for i in range(first, first + count):
        boxes = cell_boxes(rng, int(rng.integers(1, 13)), SIDE, 4)
        red = [bool(rng.random() < 0.6) for _ in boxes]
        marks = [Mark("disc", "red" if r else "white", box) for r, box in zip(red, boxes, strict=True)]
        name = f"cells_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, marks, tint)
        question = "What is the stained cell count for this microscope image?"
        task, modality = _pick(rng, ("Cell Counting", "Counting")), _pick(rng, ("microscopy", "Microscopy"))
        drawn.ask(task, modality, name, question, sum(red) if i % 5 else str(sum(red)))
    return drawn


def chromosomes(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Instance detection: identities by shape, JSON in a string, boxes in corner and size."""
    drawn, tint = Drawn(), (44, 44, 48)
    identity = {"disc": "1", "ring": "2", "square": "x"}
    quarters = [(x, y, x + 56, y + 56) for y in (0, 56) for x in (0, 56)]
    for i in range(first, first + count):
        chosen = sorted(int(q) for q in rng.permutation(4)[: int(rng.integers(1, 4))])
        marks = [
            Mark(
                _pick(rng, tuple(identity)),
                _pick(rng, ("white", "yellow")),
                random_box(rng, quarters[q], 32, 52, step=4),
            )
            for q in chosen
        ]
        boxes: dict[str, list] = {}
        for mark in sorted(marks, key=lambda m: tuple(identity).index(m.shape)):
            x1, y1, x2, y2 = mark.box
            boxes.setdefault(identity[mark.shape], []).append([x1, y1, x2 - x1, y2 - y1])
        name = f"karyo_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, marks, tint)
        question = f"Identify and locate all chromosomes. {terms.LOCATE_INSTANCES}"
        drawn.ask("instance_detection", "Microscopy", name, question, json.dumps(boxes))
    return drawn


def resorption(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Regression: the height of a column in percent of the image's height."""
    drawn, tint = Drawn(), (36, 30, 30)
    for i in range(first, first + count):
        height, left = int(rng.integers(8, 105)), int(rng.integers(10, 70))
        name = f"bone_{i:05d}.png"
        drawn.images[name] = _thumbnail(rng, [Mark("square", "white", (left, SIDE - height, left + 32, SIDE))], tint)
        share = round(100 * height / SIDE, 1)
        question = "Estimate the bone resorption in percent from this image."
        drawn.ask("regression", "Digital Camera", name, question, share if i % 3 == 0 else f"{share}%")
    return drawn


def polyps(rng: np.random.Generator, count: int, first: int) -> Drawn:
    """Classification by letter over three to five frames: all show one shape, which decides."""
    drawn, tint = Drawn(), (56, 24, 24)
    for i in range(first, first + count):
        kind = int(rng.integers(4))
        names = [f"case{i:04d}_frame{frame}.png" for frame in range(1, int(rng.integers(3, 6)) + 1)]
        for name in names:
            mark = _large(rng, ("disc", "ring", "square", "cross")[kind], _pick(rng, ("white", "green")))
            drawn.images[name] = _thumbnail(rng, [mark], tint)
        question = terms.with_options(DIAGNOSIS, terms.POLYPS)
        drawn.ask("classification", "Endoscopy", names, question, terms.LETTERS[kind])
    return drawn


@dataclass(frozen=True)
class ToySubset:
    """One subset: how it is drawn, how many cases, and in which of FLARE's shapes it is written.

    `shapes` holds one root key a question file ("" for a bare list); rows are dealt out to the files in turn.
    """

    name: str
    modality: str
    draw: Callable[[np.random.Generator, int, int], Drawn]
    train: int
    validation: int
    shapes: tuple[str, ...] = ("",)
    zipped: tuple[bool, bool] = (False, False)
    validation_folder: str = "validation-public"


SUBSETS: tuple[ToySubset, ...] = (
    ToySubset("moles", "Dermatology", moles, 190, 44, zipped=(True, False)),
    ToySubset("density", "Mammography", density, 96, 24),
    ToySubset("fundus", "Retinography", fundus, 120, 32, ("questions",), zipped=(True, True)),
    ToySubset("chestfindings", "Xray", chestfindings, 180, 44),
    ToySubset("periapex", "Xray", periapex, 120, 32, ("data",)),
    ToySubset("chestreport", "Xray", chestreport, 180, 44),
    ToySubset("massfind", "Ultrasound", massfind, 200, 46, zipped=(False, True)),
    ToySubset("fetal", "Ultrasound", fetal, 96, 24, ("annotations", "")),
    ToySubset("cells", "Microscopy", cells, 190, 44, ("", "items"), zipped=(True, True)),
    ToySubset("chromosomes", "Microscopy", chromosomes, 130, 32),
    ToySubset("resorption", "Clinical", resorption, 190, 46, validation_folder="validation_public"),
    ToySubset("polyps", "Endoscopy", polyps, 48, 14),
)
