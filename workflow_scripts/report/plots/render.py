"""Turns charts into SVG and PDF, in one process, without a browser.

Vega numbers clip paths from one counter: two figures in one page would share names, so each gets its figure's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import vl_convert

from workflow_scripts.core.files import atomic, write_text
from workflow_scripts.report.plots.catalogue import Figure, write_figures_list
from workflow_scripts.report.plots.style import Drawing, configured, plain

VEGA_LITE = "6.4"
"""Version of Vega-Lite, of those that vl-convert carries."""

_DEFINED = re.compile(r'\bid="([^"]+)"')
_ROOT = re.compile(r"<svg\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_LONG = re.compile(r"(\d\.\d\d)\d+")
_BACKGROUND = re.compile(r'<rect width="[\d.]+" height="[\d.]+" fill="transparent"/>')


def svg_of(drawing: Drawing) -> str:
    """The SVG of a drawing: text stays text, no background, names of its own, and title and description inside."""
    specification = configured(drawing.chart).to_dict(validate=False)
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    for count, name in enumerate(dict.fromkeys(_DEFINED.findall(svg))):
        own = f"{drawing.name}-{count}"
        svg = svg.replace(f'id="{name}"', f'id="{own}"').replace(f"url(#{name})", f"url(#{own})")
    # A hundredth of a pixel is enough, and half the bytes.
    svg = _TAG.sub(lambda tag: _LONG.sub(r"\1", tag[0]), _BACKGROUND.sub("", svg))
    names = f"{drawing.name}-title", f"{drawing.name}-description"
    said = (
        f'<title id="{names[0]}">{escape(plain(drawing.title))}</title>'
        f'<desc id="{names[1]}">{escape(plain(drawing.description))}</desc>'
    )
    root = _ROOT.search(svg)
    assert root is not None
    start = root[0][:-1] + f' overflow="visible" role="img" aria-labelledby="{names[0]} {names[1]}">'
    return svg[: root.start()] + start + said + svg[root.end() :] + "\n"


def _named(drawings: Iterable[Drawing]) -> Iterator[Drawing]:
    """Each drawing with a name that no other has."""
    names: set[str] = set()
    for drawing in drawings:
        name, count = drawing.name, 1
        while name in names:
            count += 1
            name = f"{drawing.name}-{count}"
        names.add(name)
        yield replace(drawing, name=name)


def write_drawings(folder: Path, drawings: Iterable[Drawing]) -> list[Figure]:
    """Write each drawing as SVG and PDF, and the catalogue; returns what the catalogue lists.

    Names of datasets that differ in other signs than letters and digits give drawings of one name: those are numbered.
    """
    figures: list[Figure] = []
    for drawing in _named(drawings):
        svg = svg_of(drawing)
        write_text(folder / f"{drawing.name}.svg", svg)
        with atomic(folder / f"{drawing.name}.pdf") as temporary:
            temporary.write_bytes(vl_convert.svg_to_pdf(svg))
        figures.append(
            Figure(
                name=drawing.name,
                section=drawing.section,
                title=drawing.title,
                caption=drawing.caption,
                description=drawing.description,
                svg=f"{drawing.name}.svg",
                pdf=f"{drawing.name}.pdf",
            )
        )
    write_figures_list(folder, figures)
    return figures
