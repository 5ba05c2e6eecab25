"""Which network: `models` names a checkpoint at a full revision, and the family that knows how to drive it."""

from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.core.config.section import Revision, Section

Family = Literal["gemma3", "paligemma2"]


class MadeModel(Section):
    """A tiny model, built and pre-trained here."""

    source: Literal["made"] = "made"
    family: Literal["gemma3"] = "gemma3"
    width: int = Field(128, multiple_of=64, ge=64, description="Hidden size of both towers.")
    layers: int = Field(3, ge=1, description="Layers of each tower.")
    vocabulary: int = Field(1024, ge=512, description="Most tokens of the byte-level BPE.")
    sight_steps: int = Field(300, ge=1, description="Steps that teach the vision tower, 64 pictures each.")
    steps: int = Field(500, ge=1, description="Steps that teach the language model, 16 lessons each.")
    learning_rate: float = Field(1e-2, gt=0, description="Peak learning rate of both phases.")
    seed: int = Field(0, ge=0, description="Seed of the weights and lessons.")
    gpus: int = Field(0, ge=0, description="GPUs of a job that loads this model.")


class HubModel(Section):
    """A checkpoint on the Hugging Face hub, or a folder in the same layout."""

    source: Literal["hub"] = "hub"
    family: Family = Field(description="How it is prompted, loaded and adapted.")
    checkpoint: str = Field(description="Repository on the hub, or a local folder.")
    revision: Revision | None = Field(None, description="Full commit; null for a local folder only.")
    gated: bool = Field(True, description="Whether HF_TOKEN must be set.")
    gpus: int = Field(1, ge=0, description="GPUs of a job that loads this model.")


Model = Annotated[MadeModel | HubModel, Field(discriminator="source")]
