"""What every dataset has, wherever it comes from: policies, and its conventions where they are not learned."""

import re
from typing import Literal

from pydantic import Field, field_validator

from workflow_scripts.core.config.section import Section, canonical_json


class SubsetConventions(Section):
    """How one subset writes its answers; null is learned from its rows."""

    box_convention: Literal["xyxy", "xywh"] | None = Field(None, description="Corners, or corner and size.")
    separator: Literal[",", ";"] | None = Field(None, description="Between labels.")
    answer_by: Literal["letter", "words"] | None = Field(None, description="What stands for an option.")
    percent: bool | None = Field(None, description="Whether numbers bear a percent sign.")


class Policies(Section):
    """What to do with rows that have a defect; the audit says row by row what was done."""

    missing_image: Literal["quarantine", "repair"] = Field(
        "quarantine", description="repair: a row of several images goes on with those that are there."
    )
    no_answer: Literal["quarantine", "keep"] = Field(
        "quarantine",
        description="keep: for splits in `submit`; the row is neither trained on nor scored.",
    )
    answer_not_an_option: Literal["quarantine", "keep"] = Field(
        "quarantine", description="keep: the answer stays as it is."
    )
    invalid_box: Literal["quarantine", "repair"] = Field(
        "quarantine", description="repair: put corners in order and cut to the image."
    )
    outlier: Literal["quarantine", "keep"] = Field(
        "quarantine", description="Values far out of the range of their question."
    )
    outlier_spread: float = Field(
        5.0, gt=0, description="How many interquartile ranges beyond the quartiles a value may lie."
    )
    duplicate: Literal["quarantine", "keep"] = Field("quarantine", description="The first of equal rows is kept.")
    contradiction: Literal["quarantine", "keep"] = Field(
        "quarantine", description="Equal images and question, other answers: all of them. Reports may differ."
    )
    deep_images: Literal["percentile", "range"] = Field(
        "percentile",
        description="How grey of more than 8 bits becomes 8: stretched from the 0.5th to the 99.5th percentile, or "
        "from the least to the greatest value (range).",
    )
    conventions: dict[str, SubsetConventions] = Field(
        {}, description="How a subset writes its answers, by its name; what is set here is not learned from its rows."
    )
    cases: dict[str, str] = Field(
        {}, description="Regular expression by subset whose first group is the case in an image's path."
    )

    @field_validator("cases")
    @classmethod
    def _one_group(cls, cases: dict[str, str]) -> dict[str, str]:
        for subset, pattern in cases.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{subset}: {pattern!r} is not a valid regular expression ({error})") from None
            if groups < 1:
                raise ValueError(f"{subset}: {pattern!r} has no group for the case, as in (CXR[0-9]+)")
        return cases


class DatasetEntry(Section):
    """What every dataset has, wherever it comes from."""

    policies: Policies = Field(Policies(), description="What to do with defects.")

    def source_spec(self) -> str:
        """Canonical JSON of where the dataset comes from, without the policies, which change no file of it."""
        return canonical_json(self.model_dump(mode="json", exclude={"policies"}))
