"""What is compared: a system is a model, a model with a recipe, a trivial rule, or someone's predictions."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

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

    @model_validator(mode="after")
    def _tuned_on_something(self) -> "ModelSystem":
        if (self.recipe is None) != (self.train is None):
            raise ValueError("recipe and train go together: set both to tune, or neither for the base model")
        return self


class TrivialSystem(Section):
    """A base line that looks at no picture: the training split's most usual answer for each question."""

    trivial: Literal["majority"] = Field(description="majority: mode, median, median box, commonest report.")
    train: Name = Field(description="Split whose answers are summarised.")


def _kind(value: object) -> str:
    has = value.__contains__ if isinstance(value, dict) else lambda key: hasattr(value, key)
    return "trivial" if has("trivial") else "model"


System = Annotated[
    Annotated[ModelSystem, Tag("model")] | Annotated[TrivialSystem, Tag("trivial")],
    Discriminator(_kind),
]
