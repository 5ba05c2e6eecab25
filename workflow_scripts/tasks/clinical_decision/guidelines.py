"""What a decision is judged by: names of the diagnosis, laboratory items, imaging and treatments of each pathology."""

from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from workflow_scripts.core.config.section import Section

_GUIDELINES = Path(__file__).parent / "guidelines.yaml"


class Name(Section):
    """Another name of a diagnosis: a place, and any of several words beside it."""

    location: str
    modifiers: tuple[str, ...]


class Located(Section):
    """A treatment by a place and a measure that stand in one sentence."""

    places: tuple[str, ...]
    measures: tuple[str, ...]


class Treatment(Section):
    """A treatment: when it is needed, and how a text asks for it."""

    written: str  # how an answer to learn asks for it
    required: bool  # of every case
    if_diagnosed: str | None = None  # needed, and looked for, only where the case's diagnoses affirm this
    icd9: tuple[int, ...] = ()  # procedures that show that the case needed it
    icd10: tuple[str, ...] = ()
    done: tuple[str, ...] = ()  # words of the discharge procedures that show it
    done_at: tuple[str, ...] = ()  # and places, one of which must be among them too
    requested: tuple[tuple[str, ...], ...] = ()
    located: Located | None = None


class Guideline(Section):
    """One pathology."""

    names: tuple[Name, ...]
    gracious_names: tuple[Name, ...]
    laboratory: dict[str, tuple[int, ...]]  # items of each category that must be looked at
    neutral_panels: tuple[str, ...]
    neutral_items: tuple[int, ...] = ()
    imaging: dict[str, int]  # points of an image of the abdomen, by its modality
    imaging_if_diagnosed: dict[str, str] = Field({})  # modality: one more point where the diagnoses affirm this
    treatments: dict[str, Treatment]


class Guidelines(Section):
    """Laboratory panels, and every pathology by its name."""

    labels: dict[int, str]
    panels: dict[str, tuple[int, ...]]
    pathologies: dict[str, Guideline]

    def neutral(self, pathology: str) -> frozenset[int]:
        """Items that are neither needed nor needless."""
        guideline = self.pathologies[pathology]
        return frozenset(item for panel in guideline.neutral_panels for item in self.panels[panel]) | frozenset(
            guideline.neutral_items
        )


@cache
def guidelines() -> Guidelines:
    """The guidelines that ship."""
    return Guidelines.model_validate(yaml.safe_load(_GUIDELINES.read_text(encoding="utf-8")))
