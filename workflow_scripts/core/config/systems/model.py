"""A model that is compared: as it is, tuned by a recipe, or with a published adapter."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from workflow_scripts.core.config.models import ONE_IMAGE, Checkpoint, HubModel, Model
from workflow_scripts.core.config.section import MOVING, Name, Section
from workflow_scripts.core.tasks import tasks


class Prompt(Section):
    """Words around the question; the same in training and inference."""

    system: str | None = Field(None, description="System prompt; null for none.")
    by_task: dict[str, str | None] = Field(
        {}, description="System prompts of single tasks, in place of `system`: {TASK: text, or null for none}."
    )

    @field_validator("by_task")
    @classmethod
    def _known_tasks(cls, prompts: dict[str, str | None]) -> dict[str, str | None]:
        for name in prompts:
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
        return prompts

    def of(self, task: str) -> str | None:
        """The system prompt of a row of `task`; None for none."""
        return self.by_task.get(task, self.system)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that some row is prompted with."""
        return tuple(text for text in (self.system, *self.by_task.values()) if text is not None)


class Shots(Section):
    """Answered rows of a training split that stand before the question: few-shot prompts."""

    count: int = Field(ge=1, le=64, description="Rows that are shown.")
    train: Name | None = Field(
        None, description="Split that they are drawn from; null: the `train` that stands beside `shots`."
    )
    seed: int = Field(0, ge=0, description="Of the draw: another one shows other rows.")
    by: Literal["task", "subset", "question"] = Field(
        "subset",
        description="What has one fixed set of shots. task: all rows of a task. subset: those of a task in a subset. "
        "question: those that ask the same, letter case, digits and spaces aside.",
    )
    balance: bool = Field(
        False, description="Take the answers' classes in turn; rows whose answer is no label are drawn as without it."
    )
    images: bool = Field(True, description="Show their images; false: their texts alone.")

    @property
    def source(self) -> str:
        """The split that they are drawn from."""
        assert self.train is not None
        return self.train


class Samples(Section):
    """Several answers to each row, of which the commonest counts: self-consistency."""

    draws: int = Field(ge=2, le=1000, description="Answers to each row.")
    temperature: float = Field(0.7, gt=0, le=5, description="Of the draws; 1 is the model's own distribution.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from the likeliest tokens up to so much probability.")


def _count_alone(given: Any) -> Any:
    """`shots: 5` is `shots: {count: 5}`."""
    return {"count": given} if isinstance(given, int) and not isinstance(given, bool) else given


IN_FLOAT8 = ("gemma3", "text")
"""Families with models whose language layers are computed in 8-bit floating point: Gemma 3's."""

_ON_THE_HUB = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[0-9a-f]{40}|main)")


class ModelSystem(Section):
    """A model as it is, tuned by a recipe on a split, or with an adapter that somebody published."""

    model: Name = Field(description="Name from `models`.")
    recipe: Name | None = Field(None, description="Name from `recipes`; null is the base model.")
    train: Name | None = Field(
        None, description="Split to tune on, needed with a recipe; or, with `shots`, that they are drawn from."
    )
    adapter: str | None = Field(
        None,
        description="Published LoRA adapter, in place of a recipe: OWNER/NAME@REVISION on the hub, REVISION being a "
        "full commit, or `main`, which is resolved and recorded; or a local folder.",
    )
    prompt: Prompt = Prompt()
    shots: Annotated[
        Shots | None, BeforeValidator(_count_alone, json_schema_input_type=Annotated[int, Field(ge=1)] | Shots | None)
    ] = Field(None, description="Answered rows before the question: a mapping, or their number alone; null for none.")
    samples: Samples | None = Field(
        None, description="Several answers to each row, of which the commonest counts; null: one, the likeliest."
    )
    constrained: bool = Field(False, description="Let a grammar of the expected format bound every answer.")
    fp8: bool = Field(
        False,
        description="Matrix products of the language model in 8-bit floating point: needs an H100 or newer; see "
        "docs/performance.md.",
    )
    engine: Name | None = Field(None, description="Name from `engines`; null loads the model in the job itself.")
    served_as: str | None = Field(None, description="What the engine's server calls this model or adapter.")

    @model_validator(mode="before")
    @classmethod
    def _split_of_shots(cls, given: Any) -> Any:
        """Beside `shots`, `train` is the split that they are drawn from: nothing is tuned."""
        if not isinstance(given, dict) or given.get("shots") is None or given.get("recipe") is not None:
            return given
        shots = _count_alone(given["shots"])
        if not isinstance(shots, dict) or shots.get("train") is not None or given.get("train") is None:
            return given
        return given | {"shots": shots | {"train": given["train"]}, "train": None}

    @model_validator(mode="after")
    def _shots_of_a_split(self) -> "ModelSystem":
        if self.shots is None:
            return self
        if self.recipe is not None:
            raise ValueError("shots are for a model that is not tuned here, since training shows none: leave out one")
        if self.shots.train is None:
            raise ValueError("shots: name the split that they are drawn from, shots: {count: …, train: SPLIT}")
        return self

    @model_validator(mode="after")
    def _tuned_on_something(self) -> "ModelSystem":
        if (self.recipe is None) != (self.train is None):
            raise ValueError("recipe and train go together: set both to tune, or neither for the base model")
        if (self.engine is None) != (self.served_as is None):
            raise ValueError("engine and served_as go together: set both for a model behind a server, or neither")
        if self.constrained and self.engine is not None:
            raise ValueError("constrained needs the model in the job itself: leave out engine, or constrained")
        if self.fp8 and self.engine is not None:
            raise ValueError("fp8 needs the model in the job itself: leave out engine, or fp8")
        return self

    @model_validator(mode="after")
    def _published_adapter(self) -> "ModelSystem":
        if self.adapter is None:
            return self
        if self.recipe is not None:
            raise ValueError("adapter stands for weights that are published: leave out recipe and train, or adapter")
        if self.engine is not None:
            raise ValueError(
                "adapter needs the model in the job itself, since nothing shows whether a server took the adapter "
                "whole: leave out engine and served_as, or let the server hold full weights, an entry of `models`"
            )
        a_path = self.adapter.startswith(("/", "~", ".")) or "@" not in self.adapter
        if not a_path and not _ON_THE_HUB.fullmatch(self.adapter):
            raise ValueError(
                f"adapter: {self.adapter!r} is not OWNER/NAME@REVISION, REVISION being a full commit (40 hexadecimal "
                f"digits) or `{MOVING}`"
            )
        return self

    def adapter_to_fetch(self, model: Model) -> Checkpoint | None:
        """What is fetched of a published adapter that is put on `model`; None where there is none."""
        if self.adapter is None:
            return None
        base = model.to_fetch() if isinstance(model, HubModel) else None
        on_the_hub = _ON_THE_HUB.fullmatch(self.adapter)
        return Checkpoint(
            family="adapter",
            checkpoint=on_the_hub["repo"] if on_the_hub else self.adapter,
            revision=on_the_hub["revision"] if on_the_hub else None,
            base=None if base is None or base.local else base.checkpoint,
        )

    def fault_of_serving(self, name: str, model: Model) -> str | None:
        """Why a server cannot answer as the system `name`, where it holds `model`; None where it can."""
        if self.engine is None or not isinstance(model, HubModel):
            return None
        if model.image.squares:
            key = "size" if model.image.size is not None else "pad"
            return (
                f"systems.{name}.engine: a server prepares images by itself, and models.{self.model}.image.{key} would "
                "not hold there; answer without an engine, or name a model without it"
            )
        if model.vision_fp8:
            return (
                f"systems.{name}.engine: a server computes its tower itself, and models.{self.model}.vision_fp8 would "
                "not hold there; answer without an engine, or name a model without it"
            )
        if model.revision == MOVING:
            return (
                f"models.{self.model}.revision: `{MOVING}` moves, and answers behind a server are those of a commit; "
                "write the full commit of what it holds"
            )
        return None

    def fault_of_float8(self, name: str, model: Model) -> str | None:
        """Why `model` does not compute the system `name` in 8-bit floating point; None where it may.

        Of a text model, its architecture decides, which the answering job reads.
        """
        if not self.fp8:
            return None
        if model.family not in IN_FLOAT8:
            return (
                f"systems.{name}.fp8: layers of family {model.family} are not computed in 8 bits; leave fp8 out, or "
                f"name a model of {' or '.join(IN_FLOAT8)}"
            )
        if model.gpus == 0:
            return (
                f"systems.{name}.fp8: jobs of models.{self.model} take no GPU, and 8 bits need an H100 or newer; set "
                f"models.{self.model}.gpus: 1, or leave fp8 out"
            )
        return None

    def fault_of_shots(self, name: str, model: Model) -> str | None:
        """Why `model` cannot be shown the shots of the system `name`; None where it can."""
        if self.shots is None or not self.shots.images or model.family not in ONE_IMAGE:
            return None
        return (
            f"systems.{name}.shots: family {model.family} reads no images beside a question's own; set "
            "`shots.images: false` to show texts alone, or name a model of another family"
        )

    def fault_of_packing(self, name: str) -> str | None:
        """Why no container can answer as the system `name`; None where one can."""
        if self.shots is not None:
            return (
                f"{name!r} shows rows of {self.shots.source!r}, which no container holds; pack a system without shots"
            )
        if self.samples is not None:
            return f"{name!r} answers each row {self.samples.draws} times; pack a system without samples"
        return None

    def fault_of_grammar(self, name: str, model: Model) -> str | None:
        """Why no grammar can bound the answers of the system `name`, where `model` answers; None where one can."""
        if not self.constrained or model.box_form.convention is None:
            return None
        return (
            f"systems.{name}.constrained: grammars bound boxes in the dataset's form, and models.{self.model}.boxes is "
            "native; leave out constrained, or name a model with `boxes: dataset`"
        )
