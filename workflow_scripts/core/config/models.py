"""Which network: `models` names a checkpoint at a full revision, and the family that knows how to drive it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.core.config.section import MovingRevision, Revision, Section

Family = Literal["gemma3", "paligemma2"]


class SyntheticModel(Section):
    """The tiny Gemma-3-shaped model that ships with the workflow."""

    source: Literal["synthetic"] = "synthetic"
    family: Literal["gemma3"] = "gemma3"
    gpus: int = Field(0, ge=0, description="GPUs of a job that loads this model.")


class HubModel(Section):
    """A checkpoint on the Hugging Face hub, or a folder in the same layout."""

    source: Literal["hub"] = "hub"
    family: Family = Field(description="How it is prompted, loaded and adapted.")
    checkpoint: str = Field(description="Repository on the hub, or a local folder.")
    revision: Revision | None = Field(None, description="Full commit; null for a local folder only.")
    gated: bool = Field(True, description="Whether a token is needed: HF_TOKEN, or that of `hf auth login`.")
    gpus: int = Field(1, ge=0, description="GPUs of a job that loads this model.")


Model = Annotated[SyntheticModel | HubModel, Field(discriminator="source")]


WEIGHTS_GB = {
    "google/medgemma-1.5-4b-it": 8.6,  # 4.30 thousand million parameters in bfloat16, by its architecture
    "rajpurkarlab/medgemma-4b-it-crimson": 7.8,  # as its authors say
    "StanfordAIMI/GREEN-radllama2-7b": 13.5,  # 6.74 thousand million parameters in two bytes each, by its architecture
}
"""Gigabytes of weights of the checkpoints that shipped configurations name, for a plan."""


class Checkpoint(Section):
    """What is fetched before a job reads it, for a model, a judge or an encoder."""

    family: str  # of a model; judge or encoder
    checkpoint: str
    revision: MovingRevision | None = None
    gated: bool = False

    @property
    def gigabytes(self) -> float | None:
        """What the weights that are fetched amount to, where that is known."""
        return None if self.local else WEIGHTS_GB.get(self.checkpoint)

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return Path(self.checkpoint).expanduser().is_dir()
