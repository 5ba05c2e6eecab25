"""How to tune: a recipe is data, and every value of it is part of the adapter's identity."""

from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.core.config.section import Section


class Lora(Section):
    """Low-rank adapters: rank, scale, dropout and which projections they touch."""

    r: int = Field(16, ge=1, description="Rank.")
    alpha: int = Field(16, ge=1, description="Scale: updates are multiplied by alpha / r.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout on the adapter's input.")
    targets: Literal["language", "attention", "all-linear"] = Field(
        "language",
        description="language: the seven projections of each language layer; attention: its q, k, v, o; "
        "all-linear: the vision tower's too.",
    )


class Evaluation(Section):
    """Loss on rows held back from the training split, whole cases, spread over subsets and tasks."""

    every: int = Field(200, ge=1, description="Steps between evaluations.")
    rows: int = Field(256, ge=1, description="Rows to hold back, about.")
    patience: int | None = Field(None, ge=1, description="Evaluations without a better loss before stopping.")


class Recipe(Section):
    """QLoRA with a frozen vision tower, unless the values say otherwise."""

    quantisation: Literal["nf4", "none"] = Field("nf4", description="nf4: 4-bit base with double quantisation.")
    lora: Lora = Lora()
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="After the warm-up.")
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps that warm up.")
    epochs: float | None = Field(3.0, gt=0, description="Passes over the rows; fractions are fine.")
    steps: int | None = Field(None, ge=1, description="Optimiser steps instead of epochs.")
    batch: int = Field(16, ge=1, description="Rows of one optimiser step.")
    micro_batch: int | None = Field(None, ge=1, description="Most rows on a device at once; null: by its memory.")
    optimiser: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_8bit"] = Field(
        "adamw_torch", description="paged_adamw_8bit needs a GPU."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(0.3, gt=0, description="Gradient clipping.")
    gradient_checkpointing: bool = Field(False, description="Trade speed for memory.")
    save_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    evaluation: Evaluation | None = Field(None, description="null: none, and the last step is published.")
    seed: int = Field(42, ge=0, description="Seed of adapters, dropout and order.")

    @property
    def tunes_tower(self) -> bool:
        """Whether the vision tower changes, so that its stored output cannot be used."""
        return self.lora.targets == "all-linear"

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set either epochs or steps, and the other to null")
        return self
