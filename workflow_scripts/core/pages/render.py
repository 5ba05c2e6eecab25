"""Render a page from a Jinja2 template: everything is escaped, and no script but the page's own may run."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from workflow_scripts.core.pages.texts import VISIBLE, visible_directions

FRAME = "base.html.jinja"
"""What every page extends; its blocks are `title` and `content`."""

STYLES = "base.css"
"""Colours, type and tables of every page, in light and dark."""

SCRIPT = "base.js"
"""What the script of every page that has one begins with, after `visible`."""

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ENDS_ELEMENT = re.compile(r"</(script|style)|<!--", re.IGNORECASE)


def render_page(folder: Path, template: str, *, script: str = "", styles: str = "", **context: object) -> str:
    """The HTML of `template` in `folder`, which may extend `base.html.jinja`.

    Values of `context` are escaped, and characters that would turn the direction of the text after them are shown by
    their code points (`visible_directions`); a name that the template uses and `context` lacks is an error. The page's
    policy forbids network, forms, frames, and every script but one, which stands inline at the end and is named by its
    SHA-256: `script` after what every page's begins with. Data for it belong into `<script type="application/json">`
    elements, by `script_json`.

    Args:
        folder: where the template lies.
        template: its file name.
        script: JavaScript text of the page, run once the document is there; empty: the page has none. It may call
            `visible(text)`, which is `visible_directions`.
        styles: CSS text beside that of every page.
        context: what the template shows.

    Raises:
        ValueError: `script` or `styles` would end its element.
        jinja2.UndefinedError: the template uses a name that `context` lacks.
    """
    base = Path(__file__).parent
    css = (base / STYLES).read_text(encoding="utf-8") + styles
    script = script and VISIBLE + (base / SCRIPT).read_text(encoding="utf-8") + script
    for what, text in (("script", script), ("styles", css)):
        if (end := _ENDS_ELEMENT.search(text)) is not None:
            raise ValueError(f"the {what} of {folder / template} holds {end[0]!r}, which would end its element")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, base]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible_directions(value) if type(value) is str else value,
    )
    environment.filters["script_json"] = script_json
    return environment.get_template(template).render(
        context, page_policy=policy(script), page_styles=Markup(css), page_script=Markup(script)
    )


def policy(script: str) -> str:
    """The content-security policy of a page whose one script is `script`; images come from beside it or are inside."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    runs = f"'sha256-{digest}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src 'self' data: file:;"
        " base-uri 'none'; form-action 'none'"
    )


def script_json(value: Any) -> Markup:
    """JSON that can stand inside a `<script type="application/json">` element, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escaped in _UNSAFE.items():
        text = text.replace(character, escaped)
    return Markup(text)
