"""The script and styles of the case browser: plain JavaScript in parts that share one scope, no framework."""

from pathlib import Path

PARTS = ("index.js", "state.js", "drawing.js", "details.js", "list.js", "start.js")
"""Files of the script, in their order."""
CSS = "browser.css"

_FOLDER = Path(__file__).parent

SCRIPT = (
    "(() => {\n'use strict';\n" + "".join((_FOLDER / part).read_text(encoding="utf-8") for part in PARTS) + "})();\n"
)
STYLES = (_FOLDER / CSS).read_text(encoding="utf-8")
