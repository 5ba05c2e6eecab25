"""Put an SVG drawing into a page: no scripts, nothing from outside, its own identifiers, the page's colours."""

import re
import xml.etree.ElementTree as etree
from collections.abc import Mapping

from markupsafe import Markup

from workflow_scripts.core.pages.texts import visible_directions

SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"

_DROPPED = {
    *("script", "foreignobject", "iframe", "object", "embed", "handler", "style", "link"),
    *("set", "animate", "animatemotion", "animatetransform", "animatecolor"),
}
"""Elements, in lower case as an HTML page reads them: what runs, leads outside, or changes an attribute later."""
_INSIDE = re.compile(r"url\(['\"]?#([^)'\"]+)['\"]?\)")


def inline_svg(text: str, *, name: str, title: str, colours: Mapping[str, str] | None = None) -> Markup:
    """A drawing as an `<svg>` element for an HTML page.

    Scripts, event handlers, embedded documents and references to anything outside the drawing are dropped. Identifiers
    begin with `name`, so that several drawings share a page. It keeps its size in pixels as the greatest width.

    Args:
        text: the SVG file.
        name: unique in the page; letters, digits, `-` and `_`.
        title: what the drawing shows, in words, for readers who cannot see it.
        colours: what to write instead of a colour, such as `var(--ink)` instead of `#1b1f24`.

    Raises:
        ValueError: the text is not SVG.
    """
    try:
        root = etree.fromstring(text)  # our own figures: no entities
    except etree.ParseError as error:
        raise ValueError(f"the drawing {name!r} is not SVG: {error}") from None
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"the drawing {name!r} is not SVG: its element is {root.tag}")
    _clean(root)
    swaps = {colour.lower(): value for colour, value in (colours or {}).items()}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _attribute(key, value, name, swaps))
    for key in ("role", "aria-label", "aria-roledescription", "aria-hidden"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": visible_directions(title)}
    etree.register_namespace("", SVG)
    etree.register_namespace("xlink", XLINK[1:].split("}")[0])
    return Markup(etree.tostring(root, encoding="unicode"))


def _clean(element: etree.Element) -> None:
    """Drop what runs or leads outside, and the roles of parts: the drawing is one image to a screen reader."""
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.split("}")[-1].lower() in _DROPPED:
            element.remove(child)
        else:
            _clean(child)
    for key, value in list(element.attrib.items()):
        local = key.split("}")[-1].lower()
        leads_outside = local == "href" and not value.startswith(("#", "data:image/"))
        if local.startswith(("on", "aria-")) or local in ("role", "tabindex", "class") or leads_outside:
            del element.attrib[key]


def _attribute(key: str, value: str, name: str, swaps: Mapping[str, str]) -> str:
    """An attribute's value with its colour swapped and its identifiers begun with `name`."""
    if key == "id":
        return f"{name}-{value}"
    if key in ("href", XLINK) and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key == "style":
        for colour, swapped in swaps.items():
            value = re.sub(re.escape(colour), swapped, value, flags=re.IGNORECASE)
    return _INSIDE.sub(rf"url(#{name}-\1)", swaps.get(value.lower(), value))
