"""Reference boxes of a row, and the image that they lie in."""

from workflow_scripts.core.rows import Box, Row


def boxes_of(row: Row) -> list[Box]:
    """The boxes of a row's reference, whatever they show; none for other answers."""
    if row.instances is not None:
        return [instance.box for instance in row.instances]
    return list(row.boxes or ())


def image_of_boxes(row: Row) -> int:
    """The place of the image that boxes lie in: the first of the size that the expected format states, or the first."""
    size = (row.expected.width, row.expected.height)
    return next((place for place, image in enumerate(row.images) if (image.width, image.height) == size), 0)
