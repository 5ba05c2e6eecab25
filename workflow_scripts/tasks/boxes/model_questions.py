"""Questions for boxes in a model's own convention: the row's question, and a sentence that says which form holds."""

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes, resized_size

BY_CLASS = frozenset({"instance_detection"})
"""Tasks whose boxes have a class each."""

_FORMS = {
    "paligemma": (
        "four location tokens, y0 x0 y1 x1, from 0 to 1023 of the image's height and width, separated by ' ; '",
        "four location tokens, y0 x0 y1 x1, from 0 to 1023 of the image's height and width, and the box's class, "
        "separated by ' ; '",
    ),
    "medgemma": (
        'a JSON list of {"box_2d": [y0, x0, y1, x1]}',
        'a JSON list of {"box_2d": [y0, x0, y1, x1], "label": "the box\'s class"}',
    ),
    "qwen2_5_vl": (
        'a JSON list of {"bbox_2d": [x1, y1, x2, y2]}',
        'a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": "the box\'s class"}',
    ),
    "qwen3_vl": (
        'a JSON list of {"bbox_2d": [x1, y1, x2, y2]}',
        'a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": "the box\'s class"}',
    ),
    "internvl": (
        "a list [[x1, y1, x2, y2], ...]",
        "a line for each class: the class and its boxes as a list, class[[x1, y1, x2, y2], ...]",
    ),
    "chexagent": (
        "(x0,y0),(x1,y1), one box a line",
        "the box's class and (x0,y0),(x1,y1), one box a line",
    ),
}
"""Of each convention, the form of plain boxes and that of boxes with a class."""
_UNITS = {
    "medgemma": "in thousandths of the image's height and width",
    "qwen3_vl": "in thousandths of the image's width and height",
    "internvl": "in thousandths of the image's width and height",
    "chexagent": "in hundredths of the image's width and height",
}
KEYS = {"medgemma": "box_2d", "qwen2_5_vl": "bbox_2d", "qwen3_vl": "bbox_2d"}
"""What holds a box, in the conventions that are JSON."""
NOTHING = {"medgemma": "[]", "qwen2_5_vl": "[]", "qwen3_vl": "[]", "internvl": "[]"}
"""What says that there is no box; the word `none` in the other conventions."""


def asks_for_boxes(row: Row) -> bool:
    """Whether the answer of a row is boxes."""
    return row.expected.box_convention is not None


def size_of(row: Row) -> tuple[int, int]:
    """Width and height of the image that a row's boxes lie in, pixels.

    Raises:
        BadFile: the row does not say.
    """
    width, height = row.expected.width, row.expected.height
    if not width or not height:
        raise BadFile(f"row {row.uid}: a row of boxes needs its image's size in 'expected'; convert the data again")
    return width, height


def question_for(row: Row, boxes: ModelBoxes | None) -> str:
    """The question of a row as a model is asked it; the row's own, where no boxes are or the dataset's form holds.

    Raises:
        BadFile: a row of boxes does not say the size of its image.
    """
    if boxes is None or not asks_for_boxes(row):
        return row.question
    form = _FORMS[boxes.convention][row.task in BY_CLASS]
    units = _units(row, boxes)
    nothing = NOTHING.get(boxes.convention, "none")
    return (
        f"{row.question}\nWhatever is said above of the form of boxes, write {form}{units}. "
        f"If there is no box, write {nothing}."
    )


def _units(row: Row, boxes: ModelBoxes) -> str:
    """What the numbers are counted in, to be put after the form."""
    if boxes.convention == "paligemma":
        return ""
    if boxes.convention == "medgemma" and boxes.padded:
        return ", in thousandths of the square that the image, in its middle, is padded to"
    if boxes.convention == "qwen2_5_vl":
        width, height = resized_size(boxes, *size_of(row))
        return f", in pixels of the image at {width} x {height}"
    return f", {_UNITS[boxes.convention]}"
