"""Colours of the figures and of the page: inks, and one colour a system that colour-blind readers can tell apart.

Systems get the palette of Okabe and Ito (Color Universal Design, 2008). The figures use these exact values, so that
the page can replace inks by others in dark mode.
"""

from collections.abc import Sequence

INK = "#1b1f24"
"""Text, axes' titles, and marks that stand for themselves."""

MUTED = "#5c6670"
"""Labels of axes, captions, and lines of reference."""

GRID = "#dde1e6"
"""Grid lines, rules and tracks."""

PAPER = "#ffffff"
"""What a mark is outlined with where it lies on another; figures themselves have no background."""

REFERENCE = "#7b66b5"
"""The reference answers: a violet that is no system's."""

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8d00")
"""In the order of use. Yellow is darkened: on white its contrast would be 1.3; black is the ink's."""


def system_colours(systems: Sequence[str]) -> dict[str, str]:
    """A colour for each system, by its place in the configuration; from the eighth system on they repeat."""
    return {system: OKABE_ITO[place % len(OKABE_ITO)] for place, system in enumerate(systems)}


OUTCOMES = {
    "valid": "#c3cdd6",
    "malformed": "#e69f00",
    "refused": "#56b4e9",
    "looping": "#cc79a7",
    "truncated": "#d55e00",
    "missing": "#0072b2",
}
"""What became of an answer, from best to worst: grey is as it should be."""

FATES = {"matched": "#0072b2", "missing": "#e69f00", "false": "#cc79a7"}
"""What became of a finding of the reference (matched, missing), and a finding that the answer alone has (false)."""

SHADE = "#0072b2"
"""Of cells, by opacity."""

ON_SHADE = "#fefefe"
"""Text on dark marks, the same in dark mode."""

ON_LIGHT = "#1b1f25"
"""Text on light marks, the same in dark mode: not the ink's value, which changes there."""
