"""From stored values to what is shown: modality LUT, VOI LUT or window, and presentation (PS3.3 C.11, PS3.4 N.2)."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi

from workflow_scripts.data.dicom.reading import BadDicom
from workflow_scripts.data.dicom.scanning import group_item

OUTLIERS = 0.005
"""Share of the values at either end that are cut off where a file names no window."""

Grey = npt.NDArray[np.uint8]


class Window(NamedTuple):
    """A window of PS3.3 C.11.2.1.2, in units of the modality LUT's output."""

    centre: float
    width: float
    function: str = "LINEAR"


def modality_values(dataset: Dataset, stored: npt.NDArray[Any], frame: int) -> npt.NDArray[np.float64]:
    """Stored values as the modality LUT or the rescale says: Hounsfield units of CT (C.11.1).

    Raises:
        BadDicom: a rescale is not finite, or its slope is 0.
    """
    rescale = _of_frame(dataset, "PixelValueTransformationSequence", frame)
    if "ModalityLUTSequence" in dataset:
        return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    slope, intercept = float(rescale.get("RescaleSlope") or 1), float(rescale.get("RescaleIntercept") or 0)
    if "RescaleSlope" in rescale and rescale.RescaleSlope is not None:
        slope = float(rescale.RescaleSlope)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise BadDicom("wrong_rescale", f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give no values")
    return stored.astype(np.float64) * slope + intercept


def grey_levels(dataset: Dataset, stored: npt.NDArray[Any], frame: int) -> Grey:
    """A frame of one value a pixel, (rows, columns), as the file wants it shown.

    The first of its VOI LUTs, else its first window; where it has neither, values of 8 bits stay as they are, and of
    deeper ones what lies between two percentiles is stretched. Padding is black. MONOCHROME1 is inverted at the end.
    """
    values = modality_values(dataset, stored, frame)
    padding = _padding(dataset, stored)
    voi = _of_frame(dataset, "FrameVOILUTSequence", frame)
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    if voi.get("VOILUTSequence"):
        levels = _looked_up(voi, values)
    elif (window := window_of(voi)) is not None:
        levels = window_levels(values, window)
    elif dataset.BitsStored <= 8 and not _is_rescaled(dataset, frame):
        levels = values * (255 / (2**dataset.BitsStored - 1))
    else:
        levels = _stretched(values, padding)
    levels = np.rint(np.clip(levels, 0, 255))
    grey = (255 - levels if inverted else levels).astype(np.uint8)
    grey[padding] = 0
    return grey


def window_of(dataset: Dataset) -> Window | None:
    """The first window that a DICOM dataset names; None where there is none.

    Raises:
        BadDicom: it is not finite or too narrow.
    """
    centre, width = (_first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    least = 1 if function == "LINEAR" else 0
    if not np.isfinite([centre, width]).all() or width < least or (width == 0 and function != "LINEAR"):
        raise BadDicom("bad_pixel_data", f"a window of the width {width:g} about {centre:g} shows nothing")
    return Window(centre, width, function)


def window_levels(values: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """Values through a window onto 0 to 255, not rounded: C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2.

    Raises:
        BadDicom: the function is none of LINEAR, LINEAR_EXACT and SIGMOID.
    """
    centre, width, function = window
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(255 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) * 255 / width + 127.5, 0, 255))
    if function != "LINEAR":
        raise BadDicom("bad_pixel_data", "the window's function is none of LINEAR, LINEAR_EXACT and SIGMOID")
    if width == 1:  # a threshold: nothing lies between the two limits
        return np.where(values <= centre - 0.5, 0.0, 255.0)
    return np.asarray(np.clip((values - (centre - 0.5)) * 255 / (width - 1) + 127.5, 0, 255))


def colour_levels(dataset: Dataset, stored: npt.NDArray[Any]) -> Grey:
    """A frame of a palette or of three values a pixel as RGB of 8 bits, the upper ones of deeper colours."""
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        looked_up = apply_color_lut(stored, dataset)
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        deep = looked_up.dtype.itemsize * 8 if looked_up.max(initial=0) >= 2**bits else bits
        return (looked_up >> max(deep - 8, 0)).astype(np.uint8)
    return (stored >> max(int(dataset.BitsStored) - 8, 0)).astype(np.uint8)


def _looked_up(voi: Dataset, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values through the first VOI LUT, of whose bits the largest number becomes 255."""
    bits = int(voi.VOILUTSequence[0].LUTDescriptor[2])
    looked_up = apply_voi(np.rint(values).astype(np.int64), voi)
    return np.asarray(looked_up, dtype=np.float64) * (255 / (2**bits - 1))


def _stretched(values: npt.NDArray[np.float64], padding: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    inside = values[~padding]
    if not inside.size:
        return np.zeros_like(values)
    low, high = (float(value) for value in np.quantile(inside, (OUTLIERS, 1 - OUTLIERS)))
    if low == high:
        low, high = float(inside.min()), float(inside.max())
    return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)


def _padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which pixels are padding (C.7.5.1.1.2): of PixelPaddingValue, or between it and the range's limit."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, limit if isinstance(limit, int) else first))
    return np.asarray((stored >= low) & (stored <= high))


def _is_rescaled(dataset: Dataset, frame: int) -> bool:
    rescale = _of_frame(dataset, "PixelValueTransformationSequence", frame)
    slope, intercept = rescale.get("RescaleSlope"), rescale.get("RescaleIntercept")
    return "ModalityLUTSequence" in dataset or (slope or 1) != 1 or (intercept or 0) != 0


def _of_frame(dataset: Dataset, keyword: str, frame: int) -> Dataset:
    """The functional group of a frame of an enhanced image; the DICOM dataset itself of any other."""
    by_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not by_frame:
        return dataset
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return group_item(keyword, by_frame[frame], shared)


def _first(value: Any) -> float | None:
    """The first of one or several numbers; None where there is none."""
    listed = list(value) if type(value).__name__ == "MultiValue" else [value]
    return None if not listed or listed[0] in (None, "") else float(listed[0])
