"""How the numbers are summarised."""

from pydantic import Field

from workflow_scripts.core.config.section import Section


class Scoring(Section):
    """How the numbers are summarised."""

    resamples: int = Field(1000, ge=100, description="Bootstrap resamples of each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(17, ge=0, description="Seed of the bootstrap.")
