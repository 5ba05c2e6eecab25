"""What the toy model learns before anyone tunes it: to see marks, and the answer format of every task.

A lesson is an image, or several, with many questions. Those about sight have one right answer (shapes, colours,
counts, levels, boxes). Those about format ask in medical words and are answered at random among the admissible
answers: the model learns how an answer looks, not what is true, which makes it a fair baseline for tuning.
"""

import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workflow_scripts.synthetic import terms
from workflow_scripts.synthetic.drawing import COLOURS, SHAPES, Mark, canvas, cell_boxes, draw_mark, random_box

SIDE = 112
ALL_COLOURS = tuple(COLOURS)
ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "central", "right")

Turn = tuple[str, str]
"""A question and its answer."""


@dataclass(frozen=True)
class Lesson:
    """Images with the questions to ask about them, and the marks of the first."""

    images: list[Image.Image]
    marks: list[Mark]
    turns: list[Turn]


def _pick(rng: np.random.Generator, items):
    return items[int(rng.integers(len(items)))]


def _thumbnail(rng: np.random.Generator, marks: list[Mark]) -> Image.Image:
    red, green, blue = (int(value) for value in rng.integers(0, 60, size=3))
    image = canvas(rng, SIDE, SIDE, (red, green, blue))
    for mark in marks:
        draw_mark(image, mark)
    return image


def _large_mark(rng: np.random.Generator) -> Mark:
    return Mark(_pick(rng, SHAPES), _pick(rng, ALL_COLOURS), random_box(rng, (0, 0, SIDE, SIDE), 32, 64, step=8))


def _options(rng: np.random.Generator, question: str, options: tuple[str, ...], right: str) -> Turn:
    letter = terms.LETTERS[options.index(right)]
    return terms.with_options(question, options, _pick(rng, ").:")), letter


def _listed(rng: np.random.Generator, question: str, labels: tuple[str, ...], present: set[str]) -> Turn:
    separator = _pick(rng, ",;")
    return (
        terms.with_labels(question, labels, separator),
        f"{separator} ".join(label for label in labels if label in present) or "None",
    )


def box_numbers(box: tuple, corners: bool) -> list[int]:
    """A box as its convention writes it: corners, or corner and size."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y2] if corners else [x1, y1, x2 - x1, y2 - y1]


def _locate(rng: np.random.Generator, name: str, box: tuple) -> Turn:
    corners = bool(rng.random() < 0.6)
    ending = terms.LOCATE_CORNERS if corners else terms.LOCATE_SIZE
    return f"Locate the {name}. {ending}", json.dumps([box_numbers(box, corners)])


def _by_class(marks: list[Mark]) -> str:
    names = {"white": "1", "red": "2", "blue": "x"}
    boxes: dict[str, list] = {}
    for mark in sorted(marks, key=lambda m: list(names).index(m.colour)):
        boxes.setdefault(names[mark.colour], []).append(box_numbers(mark.box, corners=False))
    return json.dumps(boxes)


def _zone(mark: Mark) -> str:
    x, y = (mark.box[0] + mark.box[2]) // 2, (mark.box[1] + mark.box[3]) // 2
    return f"{ROWS[min(2, 3 * y // SIDE)]} {COLUMNS[min(2, 3 * x // SIDE)]}"


def _describe(marks: list[Mark]) -> str:
    order = sorted(marks, key=lambda m: (m.box[1], m.box[0]))
    return " ".join(f"{m.colour.capitalize()} {m.shape} in the {_zone(m)} zone." for m in order)


def one_mark(rng: np.random.Generator) -> Lesson:
    """A large mark, sometimes with a second of another colour below it."""
    target = _large_mark(rng)
    marks = [target]
    other = _large_mark(rng)
    if other.colour != target.colour and rng.random() < 0.5:
        marks.insert(0, other)
    turns = [_locate(rng, f"{mark.colour} mark", mark.box) for mark in marks]
    turns += [(f"Which shape is the {mark.colour} mark?", mark.shape) for mark in marks]
    if len(marks) == 1:
        turns += [
            _options(rng, "Which shape is shown?", SHAPES, target.shape),
            _options(rng, "Which colour is shown?", ALL_COLOURS, target.colour),
        ]
    return Lesson([_thumbnail(rng, marks)], marks, turns)


def several_marks(rng: np.random.Generator) -> Lesson:
    """One to five marks in cells of a coarse grid."""
    cells, most = (3, 6) if rng.random() < 0.6 else (2, 5)
    boxes = cell_boxes(rng, int(rng.integers(1, most)), SIDE, cells)
    marks = [Mark(_pick(rng, SHAPES), _pick(rng, ALL_COLOURS), box) for box in boxes]
    turns = [
        _listed(rng, "Which shapes are present?", SHAPES, {m.shape for m in marks}),
        _listed(rng, "Which colours are present?", ALL_COLOURS, {m.colour for m in marks}),
        ("What is the number of marks in this image?", str(len(marks))),
    ]
    if len(marks) < 4:
        turns.append(("Describe the image.", _describe(marks)))
    turns += [(f"Which mark is in the {_zone(m)} zone?", f"{m.colour} {m.shape}") for m in marks[:2]]
    return Lesson([_thumbnail(rng, marks)], marks, turns)


def classed_marks(rng: np.random.Generator) -> Lesson:
    """One mark in each of some quarters, to be listed by class with its box."""
    quarters = [(x, y, x + 56, y + 56) for y in (0, 56) for x in (0, 56)]
    chosen = sorted(rng.permutation(4)[: int(rng.integers(1, 4))])
    marks = [
        Mark(_pick(rng, SHAPES), _pick(rng, ("white", "red", "blue")), random_box(rng, quarters[i], 32, 48, step=8))
        for i in chosen
    ]
    question = f"Locate all marks by colour class (1 = white, 2 = red, x = blue). {terms.LOCATE_INSTANCES}"
    turns = [(question, _by_class(marks))]
    turns += [_locate(rng, f"mark in the {_zone(m)} zone", m.box) for m in marks[:2]]
    return Lesson([_thumbnail(rng, marks)], marks, turns)


def cells(rng: np.random.Generator) -> Lesson:
    """Up to twelve discs of two colours, to be counted."""
    colours = [str(c) for c in rng.choice(ALL_COLOURS, size=2, replace=False)]
    boxes = cell_boxes(rng, int(rng.integers(1, 13)), SIDE, 4)
    marks = [Mark("disc", _pick(rng, colours), box) for box in boxes]
    turns = [("What is the number of cells in this image?", str(len(marks)))]
    turns += [
        (f"What is the number of {c} cells in this image?", str(sum(m.colour == c for m in marks))) for c in colours
    ]
    return Lesson([_thumbnail(rng, marks)], marks, turns)


def column(rng: np.random.Generator) -> Lesson:
    """A column whose height is to be read."""
    height, left = int(rng.integers(8, 105)), int(rng.integers(10, 60))
    mark = Mark("square", _pick(rng, ALL_COLOURS), (left, SIDE - height, left + 30, SIDE))
    turns = [
        ("Estimate the height of the column in pixels.", str(float(height))),
        ("Estimate the top of the column in pixels.", str(float(SIDE - height))),
    ]
    return Lesson([_thumbnail(rng, [mark])], [mark], turns)


def two_views(rng: np.random.Generator) -> Lesson:
    """Two images, to be kept apart."""
    views = [_large_mark(rng), _large_mark(rng)]
    turns = []
    for place, mark in zip(("first", "second"), views, strict=True):
        turns.append((f"Which shape is in the {place} image?", mark.shape))
        turns.append((f"Which colour is in the {place} image?", mark.colour))
    return Lesson([_thumbnail(rng, [mark]) for mark in views], views[:1], turns)


SIGHT = ((one_mark, 1.0), (several_marks, 1.0), (classed_marks, 1.0), (cells, 0.8), (column, 0.6), (two_views, 0.5))


def format_turns(rng: np.random.Generator, count: int) -> list[Turn]:
    """`count` questions in medical words, each answered at random among the answers it admits."""
    return [_pick(rng, FORMATS)(rng) for _ in range(count)]


def _option(rng: np.random.Generator) -> Turn:
    options = _pick(rng, terms.OPTION_FAMILIES)
    question = terms.with_options("Which diagnosis fits this image?", options, _pick(rng, ").:"))
    index = int(rng.integers(len(options)))
    return question, options[index] if options is terms.BREAST else terms.LETTERS[index]


def _labels(rng: np.random.Generator) -> Turn:
    labels = _pick(rng, terms.LABEL_FAMILIES)
    separator = ";" if labels is terms.TEETH else ","
    chosen = [label for label in labels if rng.random() < 0.4] or [_pick(rng, labels)]
    return terms.with_labels("Which findings are present?", labels, separator), f"{separator} ".join(chosen)


def _count(rng: np.random.Generator) -> Turn:
    return "What is the stained cell count for this microscope image?", str(int(rng.integers(0, 12)))


def _share(rng: np.random.Generator) -> Turn:
    return "Estimate the bone resorption in percent from this image.", f"{rng.uniform(2, 98):.1f}%"


def _box(rng: np.random.Generator) -> Turn:
    name = _pick(rng, ("mass", "fetal head"))
    return _locate(rng, name, random_box(rng, (0, 0, SIDE, SIDE), 32, 64, step=8))


def _instances(rng: np.random.Generator) -> Turn:
    boxes: dict[str, list] = {}
    for name in sorted(rng.choice(["1", "2", "x"], size=int(rng.integers(1, 4)))):
        box = random_box(rng, (0, 0, SIDE, SIDE), 32, 48, step=8)
        boxes.setdefault(str(name), []).append(box_numbers(box, corners=False))
    return f"Identify and locate all chromosomes. {terms.LOCATE_INSTANCES}", json.dumps(boxes)


def _report(rng: np.random.Generator) -> Turn:
    chosen = sorted(rng.permutation(len(terms.SENTENCES))[: int(rng.integers(1, 3))])
    return "Write the findings of this chest X-ray.", " ".join(terms.SENTENCES[i] for i in chosen)


FORMATS = (_option, _labels, _count, _share, _box, _instances, _report)


def lesson(rng: np.random.Generator, formats: int = 0) -> Lesson:
    """Draw one lesson about sight; add `formats` questions about format."""
    weights = np.array([weight for _, weight in SIGHT])
    drawn = SIGHT[int(rng.choice(len(SIGHT), p=weights / weights.sum()))][0](rng)
    return Lesson(drawn.images, drawn.marks, drawn.turns + format_turns(rng, formats))
