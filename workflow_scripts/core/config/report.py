"""What the report page says and shows, explanation maps, and what is uploaded; no score changes by any of it."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from workflow_scripts.core.config.models import READS_NO_IMAGES, Model
from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.model import ModelSystem


class Report(Section):
    """What the page says and shows; nothing here changes a number."""

    title: str = Field("flarebench", description="Title of the page.")
    caption: str = Field("", description="A sentence under the title.")
    cases: int | None = Field(
        None, ge=0, description="Cases of each task in the case browser; null shows every evaluated row."
    )
    embedded_megabytes: float = Field(
        24.0, ge=0, description="Images up to this size together stand inside the page; more are files beside it."
    )


Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""OWNER/NAME of a repository of the hub."""


class Publication(Section):
    """A tuned system that `snakemake push` uploads, with its model card; no other target does."""

    repo: Repository = Field(description="Repository on the hub: OWNER/NAME; it is created where there is none.")
    what: Literal["adapter", "merged"] = Field(
        "adapter", description="merged: full weights, the base with the adapter in it."
    )
    private: bool = Field(True, description="Whether the repository is private; one of the other kind is refused.")


Method = Literal["occlusion", "gradient_x_input", "chefer", "counterfactual"]
"""Ways to say what in an image speaks for an answer; the last one asks again instead, with a part of it filled."""
METHODS: tuple[Method, ...] = ("occlusion", "gradient_x_input", "chefer", "counterfactual")

LAYERS_WITHOUT_ATTENTION = ("qwen3_5",)
"""Families some of whose layers keep a state in place of attention weights: Chefer's method has no rule for them."""


class Saliency(Section):
    """Explanation maps of a system: what in the images speaks for the answers that it gave."""

    system: Name = Field(description="A system whose job loads a model that reads images.")
    split: Name | None = Field(None, description="One of `evaluate`; null: each on which the system is evaluated.")
    methods: tuple[Method, ...] = Field(
        METHODS,
        min_length=1,
        description="occlusion: fill one window after another. gradient_x_input: of the soft tokens. chefer: "
        "gradient-weighted attention of the decoder. counterfactual: whether the answer changes when the reference "
        "boxes, or the top of each map, are filled.",
    )
    rows: int = Field(24, ge=1, description="Rows of each split, rows with reference boxes first.")
    seed: int = Field(0, ge=0, description="Of the choice of rows, redrawn weights and random regions.")
    images: int = Field(4, ge=1, description="Rows with more images are left out.")
    fill: Literal["mean", "blur"] = Field(
        "mean", description="What windows are filled with. mean: the image's mean colour. blur: a blurred copy of it."
    )
    windows: int = Field(16, ge=2, le=64, description="Most windows a side; a window is of whole tokens.")
    steps: int = Field(10, ge=2, le=100, description="Steps of a deletion or insertion curve.")
    top: float = Field(0.1, gt=0, lt=1, description="counterfactual: share of the windows that is filled.")
    draws: int = Field(3, ge=1, le=50, description="counterfactual: random regions of the same form, for comparison.")

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        return tuple(method for method in METHODS if method in methods)

    def fault(
        self, name: str, systems: Mapping[str, object], models: Mapping[str, Model], evaluate: Collection[str]
    ) -> str | None:
        """Why there can be no such maps as the entry `name`; None where there can."""
        system = systems.get(self.system)
        if not isinstance(system, ModelSystem) or system.engine is not None:
            allowed = ", ".join(
                other for other, entry in systems.items() if isinstance(entry, ModelSystem) and entry.engine is None
            )
            what = "is not in `systems`" if system is None else "loads no model in its job"
            return f"saliency.{name}.system: {self.system!r} {what}, and maps need one; allowed: {allowed or 'none'}"
        family = models[system.model].family
        if family in READS_NO_IMAGES:
            return f"saliency.{name}.system: {self.system!r} is of family {family}, which reads no images"
        if system.shots is not None:
            return (
                f"saliency.{name}.system: {self.system!r} is shown the images of other rows too; name one without shots"
            )
        if "chefer" in self.methods and family in LAYERS_WITHOUT_ATTENTION:
            return (
                f"saliency.{name}.methods: chefer needs attention weights of every layer, and some of {family} have "
                "none; leave chefer out"
            )
        if self.split is not None and self.split not in evaluate:
            allowed = ", ".join(evaluate)
            return f"saliency.{name}.split: {self.split!r} is not in `evaluate`; allowed: {allowed}"
        return None
