"""What is compared: a system is a model, a model with a recipe, a baseline, or imported predictions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Section


class Prompt(Section):
    """Words around the question; the same in training and inference."""

    system: str | None = Field(None, description="System prompt; null for none.")


class ModelSystem(Section):
    """A model as it is, or tuned by a recipe on a split."""

    model: Name = Field(description="Name from `models`.")
    recipe: Name | None = Field(None, description="Name from `recipes`; null is the base model.")
    train: Name | None = Field(None, description="Split to tune on; needed with a recipe.")
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


def _kind(value: object) -> str:
    has = value.__contains__ if isinstance(value, dict) else lambda key: hasattr(value, key)
    return "baseline" if has("baseline") else "imported" if has("predictions") else "model"


System = Annotated[
    Annotated[ModelSystem, Tag("model")]
    | Annotated[BaselineSystem, Tag("baseline")]
    | Annotated[ImportedSystem, Tag("imported")],
    Discriminator(_kind),
]
