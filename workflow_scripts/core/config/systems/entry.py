"""What is compared: a model, an encoder, a router, a baseline, or imported predictions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.encoder import EncoderSystem
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.systems.routed import RoutedSystem


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
    kinds = {"baseline": "baseline", "predictions": "imported", "route": "routed", "encoder": "encoder"}
    return next((kind for key, kind in kinds.items() if has(key)), "model")


System = Annotated[
    Annotated[ModelSystem, Tag("model")]
    | Annotated[BaselineSystem, Tag("baseline")]
    | Annotated[ImportedSystem, Tag("imported")]
    | Annotated[RoutedSystem, Tag("routed")]
    | Annotated[EncoderSystem, Tag("encoder")],
    Discriminator(_kind),
]
