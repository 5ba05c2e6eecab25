"""The list of a report's figures, `figures.json`: what each shows, in words too, and its files."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from workflow_scripts.core.files import BadFile, read_json, write_json

CATALOGUE = "figures.json"

SECTIONS = ("overview", "groups", "tasks", "reports", "validity", "training", "cost")
"""In the order of display."""


@dataclass(frozen=True)
class Figure:
    """One figure. All text may hold what a dataset or a model wrote, and is not escaped."""

    name: str  # of its files, and its anchor: lower case, digits and hyphens
    section: str  # see SECTIONS
    title: str
    caption: str  # how to read it, and what it was made of
    description: str  # the text alternative: it states the main numbers
    svg: str  # file, relative to the folder of figures.json
    pdf: str


def write_figures_list(folder: Path, figures: Iterable[Figure]) -> None:
    """Write the catalogue of a folder's figures, in the order of display."""
    write_json(folder / CATALOGUE, [asdict(figure) for figure in figures])


def read_figures(folder: Path) -> list[Figure]:
    """The figures of a folder, in the order of display.

    Raises:
        BadFile: the catalogue is missing, damaged, or names a file that is not there.
    """
    path = folder / CATALOGUE
    entries = read_json(path)
    try:
        figures = [Figure(**entry) for entry in entries]  # type: ignore[attr-defined]
    except TypeError:
        raise BadFile(f"{path} is not a list of figures; delete it and run again") from None
    for figure in figures:
        for name in (figure.svg, figure.pdf):
            if not (folder / name).is_file():
                raise BadFile(f"{path} names {name}, which is not there; delete {folder} and run again")
    return figures
