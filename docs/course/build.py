"""Runs the notebooks of the course from their sources: `python docs/course/build.py`.

Each `sources/NAME.py` (jupytext's percent format) becomes `NAME.ipynb`, with outputs. The results of the embedded
default are used where they are there; the workflow runs first where they are not.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

import jupytext
import nbformat
from lessons import open_course
from nbclient import NotebookClient
from traitlets.config import Config

COURSE = Path(__file__).resolve().parent
ROOT = COURSE.parents[1]
LARGEST = 1_000_000
"""Bytes of a notebook."""


def executed(source: Path, timeout: int = 1800) -> nbformat.NotebookNode:
    """The notebook of a source, with the outputs of its cells.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    notebook = jupytext.read(source)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    folder = {"metadata": {"path": str(COURSE)}}
    with tempfile.TemporaryDirectory() as sockets:  # files of this user, not ports that others may open
        places = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        NotebookClient(notebook, config=places, timeout=timeout, resources=folder, record_timing=False).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # the kernel adds its version, which differs by machine
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"  # drawn at random otherwise
    return notebook


def write_notebooks(sources: list[Path], out: Path) -> None:
    """Run `sources` and write their notebooks into `out`.

    Raises:
        ValueError: a notebook is too large for the repository, or an output names a path of this machine.
    """
    for source in sources:
        text = nbformat.writes(executed(source)) + "\n"
        for place in {str(ROOT), str(Path.home()), os.environ.get("FLAREBENCH_COURSE_FOLDER", str(ROOT))}:
            if shown := re.search(rf".{{0,200}}(?<![\w./-]){re.escape(place)}/.{{0,200}}", text):
                raise ValueError(f"{source.name}: an output names a path of this machine: {shown[0]}")
        if len(text) > LARGEST:
            raise ValueError(f"{source.name}: {len(text):,} bytes of notebook; show less, at most {LARGEST:,}")
        target = out / source.with_suffix(".ipynb").name
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target.name}, {len(text):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the notebooks of the course.")
    parser.add_argument("names", nargs="*", help="which, by the start of their names; all by default")
    parser.add_argument("--out", type=Path, default=COURSE, help="folder to write into")
    arguments = parser.parse_args()
    sources = sorted((COURSE / "sources").glob("*.py"))
    if arguments.names:
        sources = [source for source in sources if source.name.startswith(tuple(arguments.names))]
    open_course("config/config.yaml")  # what the workflow prints belongs into no notebook
    write_notebooks(sources, arguments.out)


if __name__ == "__main__":
    main()
