"""Which slices of a volume are shown."""

MOST = 85
"""Slices of one volume that MedGemma 1.5 is shown at most: 85 × 256 = 21,760 image tokens."""


def sampled_places(count: int, most: int = MOST) -> list[int]:
    """Places, from 0, of the slices that are shown of a volume of `count`: all of them up to `most`.

    Of more, `round(i / most * (count - 1))` for i = 1 … `most`, with Python's rounding of halves to even: the last
    slice is always among them, the first never. It is the rule of MedGemma 1.5's notebook on CT
    (Google-Health/medgemma d89262c, `notebooks/high_dimensional_ct_hugging_face.ipynb`, second code cell), which counts
    slices in the order of their InstanceNumber.

    Raises:
        ValueError: there is no slice, or none may be shown.
    """
    if count < 1 or most < 1:
        raise ValueError(f"expected slices to choose from and to show, got {count} and at most {most}")
    if count <= most:
        return list(range(count))
    return [round(i / most * (count - 1)) for i in range(1, most + 1)]
