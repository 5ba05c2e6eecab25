"""A phantom of a body in Hounsfield units: no two axes, sides or slices of it are alike."""

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

SPACING = (5.0, 1.5, 1.25)
"""Millimetres between slices, rows and columns."""

CODES = {"x": "RL", "y": "AP", "z": "SI"}


def phantom(slices: int = 40, rows: int = 48, columns: int = 56, seed: int = 0) -> npt.NDArray[np.int16]:
    """A body as a CT series shows it: (slices from the head, rows from the front, columns from the patient's right).

    Air, body, a right lung that is larger than the left one, the heart on the left, the liver on the right, the spleen
    on the left, the spine and the table at the back, and a vessel that winds its way down, so that no slice is another.

    Args:
        seed: of the noise; another seed is another patient, whose lungs have another size.
    """
    random = np.random.default_rng(seed)
    size = 1 + 0.03 * (seed % 5)
    z, y, x = np.meshgrid(
        np.linspace(0, 1, slices), np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
    )

    def ball(cz: float, cy: float, cx: float, rz: float, ry: float, rx: float) -> npt.NDArray[np.bool_]:
        return ((z - cz) / rz) ** 2 + ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1

    values = np.full(z.shape, -1000.0)
    values[(y / 0.72) ** 2 + (x / (0.8 + 0.1 * z)) ** 2 < 1] = 40  # broader towards the hips
    values[ball(0.33, -0.05, -0.4, 0.28 * size, 0.5, 0.28)] = -800  # the right lung is the larger one
    values[ball(0.3, -0.02, 0.45, 0.24 * size, 0.42, 0.22)] = -780
    values[ball(0.4, -0.2, 0.12, 0.14, 0.25, 0.2)] = 50
    values[ball(0.72, -0.1, -0.42, 0.18, 0.42, 0.34)] = 65
    values[ball(0.7, 0.2, 0.55, 0.1, 0.2, 0.15)] = 55
    values[((y - 0.5) / 0.13) ** 2 + (x / 0.1) ** 2 < 1] = 700
    values[(y > 0.84) & (np.abs(x) < 0.9)] = -600
    values[((y - 0.3) / 0.05) ** 2 + ((x - 0.25 + 0.4 * z) / 0.05) ** 2 < 1] = 180
    values += random.normal(0, 8, values.shape)
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16)


def write_nifti(
    path: Path,
    values: npt.NDArray[np.generic],
    orientation: str = "RAS",
    slope: float | None = None,
    intercept: float = 0.0,
    spacing: tuple[float, float, float] = SPACING,
) -> Path:
    """Write a series (slices from the head, rows from the front, columns from the right) as NIfTI.

    Args:
        orientation: of the stored axes, as LPS: where each of them ends.
        slope: what the stored numbers are multiplied with; None writes `values` as they are. With it they are stored
            as `(values − intercept) / slope`, which must be whole numbers.
    """
    stored = values if slope is None else np.rint((np.asarray(values, dtype=float) - intercept) / slope)
    canonical = stored.transpose(2, 1, 0)[::-1, ::-1, ::-1]  # to the right, to the front, to the head
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = -40, -30, 20
    image = nibabel.Nifti1Image(np.ascontiguousarray(canonical).astype(values.dtype), affine)
    target = nibabel.orientations.axcodes2ornt(tuple(orientation))
    change = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target)
    image = image.as_reoriented(change)
    if slope is not None:
        image.header.set_slope_inter(slope, intercept)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path
