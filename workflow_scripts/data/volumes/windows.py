"""Windows: which range of values becomes the levels 0 to 255 of each colour channel."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Window(NamedTuple):
    """A range of values: `low` becomes 0, `high` 255; what lies outside is cut to them."""

    low: float
    high: float


Windows = tuple[Window, Window, Window]
"""Of the red, the green and the blue channel."""


def centred(width: float, level: float) -> Window:
    """The window of a width (WW) about a level (WL)."""
    return Window(level - width / 2, level + width / 2)


PRESETS: Mapping[str, Windows] = {
    "medgemma-notebook": (Window(-1024, 1024), Window(-135, 215), Window(0, 80)),
    "medgemma-report": (centred(2250, -100), centred(350, 40), centred(80, 40)),
}
"""Windows of CT, in Hounsfield units: wide, soft tissue, brain.

`medgemma-notebook`: MedGemma 1.5's notebook on CT (Google-Health/medgemma d89262c,
`notebooks/high_dimensional_ct_hugging_face.ipynb`, section on windowing). `medgemma-report`: WW/WL of MedGemma 1.5's
technical report. They differ in the wide window alone.
"""

OUTLIERS = 0.005
"""Share of a volume's values at either end that `grey_windows` leaves out."""


def grey_windows(values: npt.NDArray[Any]) -> Windows:
    """One window for all channels, from the 0.5th to the 99.5th percentile: for MR, whose values have no unit.

    Args:
        values: all of the volume, of any shape; what is not finite does not count.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (Window(0, 1),) * 3
    low, high = (float(value) for value in np.quantile(finite, (OUTLIERS, 1 - OUTLIERS)))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    return (Window(low, high if high > low else low + 1),) * 3


def windowed(values: npt.NDArray[Any], windows: Windows) -> npt.NDArray[np.uint8]:
    """`values` (…) as colours (…, 3): `(value − low) / (high − low) · 255`, rounded, halves to the even level.

    The steps are the notebook's and in its precision, float32; of whole Hounsfield units every level is that of exact
    arithmetic. What is not a number is 0.
    """
    channels = []
    for low, high in windows:
        levels = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high).astype(np.float32)
        levels -= low
        levels /= high - low
        levels *= 255.0
        channels.append(np.rint(levels).astype(np.uint8))
    return np.stack(channels, axis=-1)
