"""Small copies of images for the page, each embedded once."""

import base64
import io
from pathlib import Path

from workflow_scripts.core.images import BadImage, open_image

SIDE = 192
"""Pixels of a thumbnail's longer side."""
QUALITY = 75
"""Of the JPEG."""


class Thumbnails:
    """Images by their path below `root`, decoded at the first request and numbered from 0."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers: dict[str, int | None] = {}
        self.sources: list[str] = []
        """Data URIs by number."""

    def number(self, path: str) -> int | None:
        """The number of a path's thumbnail; None for an image that cannot be read, which a finding says."""
        if path not in self._numbers:
            source = _source(self._root, path)
            self._numbers[path] = None if source is None else len(self.sources)
            self.sources += [source] if source is not None else []
        return self._numbers[path]

    def source(self, path: str) -> str | None:
        """The data URI of a path's thumbnail; None for an image that cannot be read."""
        number = self.number(path)
        return None if number is None else self.sources[number]


def _source(root: Path, path: str) -> str | None:
    try:
        image = open_image(root, path)
    except BadImage:
        return None
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
