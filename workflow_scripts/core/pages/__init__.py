"""Offline HTML pages: one frame, one style and one content-security policy for every page that a step writes."""

from workflow_scripts.core.pages.drawings import inline_svg
from workflow_scripts.core.pages.render import render_page, script_json
from workflow_scripts.core.pages.texts import cut, visible_directions

__all__ = ["cut", "inline_svg", "render_page", "script_json", "visible_directions"]
