"""How scores are summarised, by which groups they are shown, and which numbers of others stand beside them."""

from typing import Annotated

from pydantic import Field, RootModel, StringConstraints, field_validator

from workflow_scripts.core.config.section import MovingRevision, Section


class BertScore(Section):
    """BERTScore of reports by a local encoder."""

    checkpoint: str = Field(description="Repository on the hub, or a local folder, of the encoder and its tokenizer.")
    revision: MovingRevision | None = Field(
        None, description="Full commit, or `main`, which is resolved once and recorded; null for a local folder only."
    )
    layer: int = Field(ge=1, description="Hidden layer whose embeddings are compared, from 1.")
    gpus: int = Field(0, ge=0, le=1, description="GPUs of the job.")


class Scoring(Section):
    """How scores are summarised: resampling, confidence, and the text metrics that need data from elsewhere."""

    resamples: int = Field(1000, ge=100, description="Bootstrap resamples of each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(17, ge=0, description="Seed of the bootstrap.")
    nltk_data: str | None = Field(
        None, description="nltk's data folder with WordNet; null computes METEOR without synonyms, `meteor_stem`."
    )
    bertscore: BertScore | None = Field(None, description="checkpoint and layer; null leaves BERTScore out.")


GroupName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
"""What a source calls a group: hospital, scanner, sex, age band."""

PublishedName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
"""What a system of others is called in the tables."""


class Groups(Section):
    """Tables by what a source says of its rows (hospital, scanner, sex, age band), with the gaps between values."""

    columns: tuple[GroupName, ...] = Field(
        (), description="Groups, as the source's rows name them: [hospital, sex]; empty: no such tables."
    )
    least_cases: int = Field(
        20, ge=2, description="Cases that a value needs to take part in gaps; values of fewer are shown, not ranked."
    )

    @field_validator("columns")
    @classmethod
    def _once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return columns


class PublishedNumber(Section):
    """One number that somebody else reports."""

    task: str = Field(min_length=1, max_length=80, description="Task, as here where it is one of these.")
    subset: str = Field(
        "macro", min_length=1, max_length=80, description="Subset of this run, or a dataset that nobody here has."
    )
    metric: str = Field(min_length=1, max_length=80, description="Metric, as it is named here, or there.")
    value: float = Field(allow_inf_nan=False, description="The number, as it is published.")
    low: float | None = Field(None, allow_inf_nan=False, description="Interval, where one is published.")
    high: float | None = Field(None, allow_inf_nan=False, description="Its upper end.")
    rows: int | None = Field(None, ge=1, description="Questions, where that is published.")


class Published(Section):
    """Numbers of others: shown beside this run's own, marked as imported; never ranked, compared or tested."""

    source: str = Field(min_length=1, max_length=200, description="Where they are published: a paper, a model card.")
    link: Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=300)] | None = Field(
        None, description="Address of the source."
    )
    percent: bool = Field(False, description="Whether they are percentages; they are then shown divided by 100.")
    numbers: tuple[PublishedNumber, ...] = Field(min_length=1, description="task, subset, metric, value of each.")


class PublishedNumbers(RootModel[dict[PublishedName, Published]]):
    """The configuration's `published`, as JSON."""
