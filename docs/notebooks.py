"""A Sphinx extension that reads a notebook as Markdown: its text, its code, and the outputs that it holds."""

import base64
import html
import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """Reads `.ipynb`; nothing is executed."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(markdown_of(json.loads(inputstring)), document)


def markdown_of(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown; outputs become HTML."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [f'<div class="output">\n{shown}\n</div>' for shown in map(output, cell["outputs"]) if shown]
    return "\n\n".join(parts) + "\n"


def output(entry: dict[str, Any]) -> str:
    """One output as HTML without an empty line, which would end it."""
    if entry["output_type"] == "stream":
        return _text("".join(entry["text"]))
    data, alternative = entry.get("data", {}), "".join(entry.get("data", {}).get("text/plain", ""))
    if "image/png" in data:
        return _image("image/png", "".join(data["image/png"]).replace("\n", ""), alternative)
    if "image/svg+xml" in data:
        drawn = base64.b64encode("".join(data["image/svg+xml"]).encode()).decode()
        return _image("image/svg+xml", drawn, alternative)
    if "text/html" in data:
        return "\n".join(line for line in "".join(data["text/html"]).splitlines() if line.strip())
    return _text(alternative)


def _image(kind: str, data: str, alternative: str) -> str:
    return f'<img src="data:{kind};base64,{data}" alt="{html.escape(alternative, quote=True)}">'


def _text(text: str) -> str:
    lines = html.escape(text.strip("\n")).splitlines()
    return "<pre>" + "\n".join(line or " " for line in lines) + "</pre>" if lines else ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
