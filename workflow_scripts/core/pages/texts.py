"""Texts on pages and in tables: metrics and numbers as readers see them; texts of others, cut and without turns."""

import re

_TURNING = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that turn the direction of what follows them, even beyond the element that holds them: of a class of
characters, as Python and JavaScript write it."""

_DIRECTIONS = re.compile(f"[{_TURNING}]")

VISIBLE = f"""const visible = (text) =>
  text.replace(/[{_TURNING}]/g, (c) => `[U+${{c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}}]`);
"""
"""`visible_directions` as a function of a page's script."""


def visible_directions(text: str) -> str:
    """A text whose controls of direction are shown as `[U+202E]`: an unmatched one would turn what stands after it."""
    return _DIRECTIONS.sub(lambda control: f"[U+{ord(control[0]):04X}]", text)


def cut(text: str, length: int) -> str:
    """`text`, cut where it is longer than `length` characters; then it says how long it is."""
    return text if len(text) <= length else f"{text[:length]} … ({len(text):,} characters)"


def metric_label(metric: str, judge: str | None) -> str:
    """A metric as a reader sees it: `crimson (judge)`, or its bare name where no judge is asked."""
    return metric if judge is None else f"{metric} ({judge})"


def number_text(value: float) -> str:
    """Three decimals below ten, one up to ten thousand, powers of ten beyond."""
    if abs(value) >= 1e4:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
