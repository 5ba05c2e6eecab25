"""A volume: axial slices in the order and orientation in which a DICOM series shows them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Volume:
    """The slices of a series that are shown.

    Rows go from the front of the body to its back, columns from the patient's right to the left, slices in the order
    in which they are numbered. Most scanners number a series of CT from the head to the feet, and so are the slices of
    a NIfTI file taken here, which has no numbers.
    """

    values: npt.NDArray[np.float32]  # (slices shown, rows, columns); Hounsfield units of CT
    count: int  # slices of the series; `values` has those at `sampled_places(count, most)`

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or 0 in self.values.shape:
            raise ValueError(f"a volume has slices, rows and columns; got an array of {self.values.shape}")
        if len(self.values) > self.count:
            raise ValueError(f"{len(self.values)} slices are shown of a series of {self.count}")


AIR = -500
"""Hounsfield units that only air, lung and what lies outside a scanner's field are below."""

TISSUE, LEAST_TISSUE = -200, 0.01
"""Hounsfield units that soft tissue is above, and the share of a CT's values that it has at least."""

UNITS = (-10_000, 35_000)
"""Hounsfield units between which values of a CT lie, padding of -8192 and metal of 30,710 among them."""


def hounsfield_fault(values: npt.NDArray[np.floating]) -> str | None:
    """Why the values of a CT cannot be Hounsfield units, as the end of a sentence; None where they may be.

    A CT shows air, near -1000, and soft tissue, near 0. Where its rescale was not applied (stored numbers from 0 to
    4095), or was applied twice, the windows would show one plain colour.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "none of its values is finite"
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return f"all its values are {low:g}"
    if low > AIR:
        return f"its values lie between {low:g} and {high:g}, without the air near -1000 of a CT in Hounsfield units"
    outside = float(np.mean((finite < UNITS[0]) | (finite > UNITS[1])))
    if outside > 0.5:  # padding and metal are few; of a whole volume the unit is another
        return f"{outside:.0%} of its values lie outside {UNITS[0]} to {UNITS[1]} Hounsfield units"
    tissue = float(np.mean(finite > TISSUE))
    if tissue < LEAST_TISSUE:
        return (
            f"{tissue:.1%} of its values are above {TISSUE}, as soft tissue is: a rescale may have been applied twice"
        )
    return None
