"""A text encoder that is tuned for tasks: GatorTron, ClinicalBERT, DeBERTa and their like."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.routed import TextEncoder
from workflow_scripts.core.tasks import tasks


class TunedEncoder(TextEncoder):
    """A text encoder in one of transformers' own classes, with its tokenizer."""

    checkpoint: str = Field(
        description="Repository on the hub, or a local folder, of an encoder and its tokenizer: GatorTron, BERT, …"
    )
    gpus: int = Field(0, ge=0, le=1, description="GPUs of the jobs that tune it and answer with it.")
    length: int = Field(
        512, ge=16, description="Most tokens that are read at once; fewer where the encoder reads no more."
    )
    stride: int = Field(
        128, ge=0, description="Tokens that two neighbouring windows of a longer text share; below half of `length`."
    )

    @model_validator(mode="after")
    def _windows_move_on(self) -> "TunedEncoder":
        if 2 * self.stride >= self.length:
            raise ValueError(f"stride {self.stride} is not below half of length {self.length}")
        return self


class EncoderTuning(Section):
    """How an encoder and its heads are tuned. Rate, epochs and batch are what is reported of GatorTron's tasks."""

    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate; it falls to 0 in a straight line.")
    epochs: float = Field(10.0, gt=0, description="Passes over the rows.")
    batch: int = Field(8, ge=1, description="Examples an optimiser step: windows, texts or pairs.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped at this norm.")
    seed: int = Field(13, ge=0, description="Seed of new heads, of the order of examples and of dropout.")
    save_every: int = Field(500, ge=1, description="Steps between checkpoints, from which a killed run goes on.")


class EncoderTraining(Section):
    """What the training step has to know of a system."""

    tasks: tuple[str, ...] = ()
    length: int = 512
    stride: int = 128
    tuning: EncoderTuning = EncoderTuning()


class EncoderSystem(Section):
    """A text encoder that is tuned on a split, one head and one set of weights a task; it writes ordinary answers."""

    encoder: TunedEncoder
    train: Name = Field(description="Split to tune on.")
    tasks: tuple[str, ...] = Field(
        (),
        description="Tasks to tune for and to answer (entities, relations, entailment, similarity, span_qa); rows of "
        "others have no answer. Empty: all of these that the split holds.",
    )
    tuning: EncoderTuning = EncoderTuning()

    @property
    def training(self) -> EncoderTraining:
        """What the training step is given, beside its rows and the encoder's files."""
        encoder = self.encoder
        return EncoderTraining(tasks=self.tasks, length=encoder.length, stride=encoder.stride, tuning=self.tuning)

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, named: Any) -> Any:
        for name in named:
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
        return named
