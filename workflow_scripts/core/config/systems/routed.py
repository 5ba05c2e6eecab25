"""A router over systems: which expert answers which row, and the encoder that tells."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from workflow_scripts.core.config.section import MovingRevision, Name, Section
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.tasks import tasks

if TYPE_CHECKING:
    from workflow_scripts.core.config.systems.entry import System


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
            if fault := entry.fault_of_packing(expert):
                return f"{name!r} routes to an expert that cannot be packed: {fault}"
            if entry.recipe in full:
                return f"{name!r} routes to {expert!r}, whose weights were trained in full: a load holds no others"
        models = sorted({entry.model for entry in experts.values() if isinstance(entry, ModelSystem)})
        if len(models) > 1:
            return f"{name!r} routes to systems of {', '.join(models)}, and a container holds one model"
        if len({entry.fp8 for entry in experts.values() if isinstance(entry, ModelSystem)}) > 1:
            return f"{name!r} routes to systems with fp8 and without, and a container holds weights of one kind"
        return None
