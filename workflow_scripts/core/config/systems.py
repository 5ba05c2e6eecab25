"""What is compared: a model, with a recipe or a published adapter, a router, a baseline, or imported predictions."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from workflow_scripts.core.config.models import Checkpoint, HubModel, Model
from workflow_scripts.core.config.section import MOVING, MovingRevision, Name, Section
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


_ON_THE_HUB = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[0-9a-f]{40}|main)")


class ModelSystem(Section):
    """A model as it is, tuned by a recipe on a split, or with an adapter that somebody published."""

    model: Name = Field(description="Name from `models`.")
    recipe: Name | None = Field(None, description="Name from `recipes`; null is the base model.")
    train: Name | None = Field(None, description="Split to tune on; needed with a recipe.")
    adapter: str | None = Field(
        None,
        description="Published LoRA adapter, in place of a recipe: OWNER/NAME@REVISION on the hub, REVISION being a "
        "full commit, or `main`, which is resolved and recorded; or a local folder.",
    )
    prompt: Prompt = Prompt()
    constrained: bool = Field(False, description="Let a grammar of the expected format bound every answer.")
    engine: Name | None = Field(None, description="Name from `engines`; null loads the model in the job itself.")
    served_as: str | None = Field(None, description="What the engine's server calls this model or adapter.")

    @model_validator(mode="after")
    def _tuned_on_something(self) -> "ModelSystem":
        if (self.recipe is None) != (self.train is None):
            raise ValueError("recipe and train go together: set both to tune, or neither for the base model")
        if (self.engine is None) != (self.served_as is None):
            raise ValueError("engine and served_as go together: set both for a model behind a server, or neither")
        if self.constrained and self.engine is not None:
            raise ValueError("constrained needs the model in the job itself: leave out engine, or constrained")
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
        if model.revision == MOVING:
            return (
                f"models.{self.model}.revision: `{MOVING}` moves, and answers behind a server are those of a commit; "
                "write the full commit of what it holds"
            )
        return None

    def fault_of_grammar(self, name: str, model: Model) -> str | None:
        """Why no grammar can bound the answers of the system `name`, where `model` answers; None where one can."""
        if not self.constrained or model.box_form.convention is None:
            return None
        return (
            f"systems.{name}.constrained: grammars bound boxes in the dataset's form, and models.{self.model}.boxes is "
            "native; leave out constrained, or name a model with `boxes: dataset`"
        )


class BaselineSystem(Section):
    """A baseline that looks at no image and answers from the rows of a training split."""

    baseline: Literal["majority", "empty", "constant", "nearest"] = Field(
        description="majority: mode, median, median box. empty: no label, box or text. "
        "constant: the whole image, a normal report. nearest: as the most similar question was answered."
    )
    train: Name = Field(description="Split whose answers are summarised.")


class ImportedSystem(Section):
    """Predictions that another project made, compared as they are."""

    predictions: str = Field(description="File of predictions: .jsonl, .json or .csv; see docs/predictions.md.")

    @field_validator("predictions")
    @classmethod
    def _known_ending(cls, predictions: str) -> str:
        if not predictions.lower().endswith((".jsonl", ".json", ".csv")):
            raise ValueError("expected a file name that ends in .jsonl, .json or .csv")
        return predictions

    @property
    def file(self) -> Path:
        """The file, a leading `~` resolved."""
        return Path(self.predictions).expanduser()

    @property
    def train(self) -> None:
        """Nothing is tuned here."""
        return None


class TextEncoder(Section):
    """A text encoder whose mean token vector of a question a linear head classifies: MiniLM, DeBERTa-v3-small, …"""

    checkpoint: str = Field(description="Repository on the hub, or a local folder, of the encoder and its tokenizer.")
    revision: MovingRevision | None = Field(
        None, description="Full commit, or `main`, which is resolved once and recorded; null for a local folder only."
    )
    gpus: int = Field(0, ge=0, le=1, description="GPUs of the jobs that embed questions.")


_NAMES = {"type": "string"}
EXPERTS = {
    "anyOf": [{"type": "object", "additionalProperties": _NAMES}, {"type": "array", "items": _NAMES}],
}
"""What editors take for experts: names by value, or names that are values."""


class Route(Section):
    """Which expert answers which row."""

    by: Literal["rule", "classifier", "oracle"] = Field(
        description="rule: by a column of the row. classifier: by the column's value as a classifier reads it off the "
        "question. oracle: the expert that the scores say was best, an upper bound that is never ranked."
    )
    experts: Annotated[dict[str, Name], WithJsonSchema(EXPERTS)] = Field(
        min_length=1,
        description="Systems by the value of the column `on`: {classification: SYSTEM, …}; a list of systems whose "
        "names are such values, [classification, …], is the same. Of an oracle, the keys mean nothing.",
    )
    default: Name | None = Field(None, description="System that answers where no expert is named, or none is sure.")
    on: Literal["task", "modality", "subset"] = Field("task", description="Column of the rows that decides.")
    train: Name | None = Field(None, description="classifier: split whose questions it learns from.")
    encoder: Literal["tfidf"] | TextEncoder = Field(
        "tfidf", description="classifier: tfidf, the default, words and pairs of words; or a text encoder, as below."
    )
    threshold: float = Field(
        0.3, ge=0, lt=1, description="classifier: where the likeliest class is less likely, the default answers."
    )

    @field_validator("experts", mode="before")
    @classmethod
    def _names_that_are_values(cls, given: object) -> object:
        return {name: name for name in given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _complete(self) -> "Route":
        learns = self.by == "classifier"
        if learns and (self.train is None or self.default is None):
            raise ValueError(
                "by: classifier needs train, the split it learns from, and default, for where it is unsure"
            )
        if not learns and (self.train, self.encoder, self.threshold) != (None, "tfidf", 0.3):
            raise ValueError(f"train, encoder and threshold are a classifier's; by: {self.by} has none of them")
        if self.by != "oracle" and self.on == "task" and (unknown := sorted(set(self.experts) - set(tasks()))):
            raise ValueError(f"experts: {unknown[0]!r} is not a task; allowed: {', '.join(tasks())}")
        return self

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems that may answer, each once: the experts in their order, then the default."""
        named = (*self.experts.values(), self.default)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def expert_of(self, value: str | None) -> str | None:
        """The system that answers a row whose column `on` has this value; None where none is named."""
        return self.default if value is None else self.experts.get(value, self.default)


class RoutedSystem(Section):
    """A router over systems: each row has the answer of one of them. Nothing is generated again."""

    route: Route

    @property
    def train(self) -> str | None:
        """The split that a classifier learns from."""
        return self.route.train

    @property
    def reads_scores(self) -> bool:
        """Whether it is an oracle: compared with nothing, and never the best of a line."""
        return self.route.by == "oracle"

    def faults(self, name: str, systems: "Mapping[str, System]") -> Iterator[str]:
        """What is wrong with it as the system `name` among `systems`, in sentences."""
        answering = [other for other, entry in systems.items() if not isinstance(entry, RoutedSystem)]
        for expert in self.route.systems:
            if expert not in answering:
                what = "is a router itself" if expert in systems else "is not in `systems`"
                yield f"systems.{name}.route: {expert!r} {what}; allowed: {', '.join(answering) or 'none'}"
        if self.reads_scores and "oracle" not in name.lower():
            yield f"systems.{name}: it reads scores, which its name has to say in every table; call it oracle_{name}"

    def fault_of_packing(self, name: str, systems: "Mapping[str, System]", full: Collection[str]) -> str | None:
        """Why no container can answer as the system `name`; None where one can.

        Args:
            name: of this system.
            systems: all of them.
            full: recipes that train weights in full.
        """
        if self.reads_scores:
            return f"{name!r} reads scores, which no challenge gives: pack a router by rule or by classifier"
        route = self.route
        every_task = route.on == "task" and set(tasks()) <= set(route.experts)
        if route.by == "rule" and route.default is None and not every_task:
            return f"{name!r} has no default, and a challenge may ask what no expert is named for; name a default"
        experts = {expert: systems[expert] for expert in route.systems}
        for expert, entry in experts.items():
            if not isinstance(entry, ModelSystem) or entry.engine is not None:
                return f"{name!r} routes to {expert!r}, which loads no model in its job; leave that expert out"
            if entry.recipe in full:
                return f"{name!r} routes to {expert!r}, whose weights were trained in full: a load holds no others"
        models = sorted({entry.model for entry in experts.values() if isinstance(entry, ModelSystem)})
        if len(models) > 1:
            return f"{name!r} routes to systems of {', '.join(models)}, and a container holds one model"
        return None


def _kind(value: object) -> str:
    has = value.__contains__ if isinstance(value, dict) else lambda key: hasattr(value, key)
    kinds = {"baseline": "baseline", "predictions": "imported", "route": "routed"}
    return next((kind for key, kind in kinds.items() if has(key)), "model")


System = Annotated[
    Annotated[ModelSystem, Tag("model")]
    | Annotated[BaselineSystem, Tag("baseline")]
    | Annotated[ImportedSystem, Tag("imported")]
    | Annotated[RoutedSystem, Tag("routed")],
    Discriminator(_kind),
]
