"""Judges of answers in free text: rules, a model loaded here, a model behind a server, or recorded replies."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, RootModel, model_validator

from workflow_scripts.core.config.engines import ServerURL
from workflow_scripts.core.config.section import MovingRevision, Section, canonical_json

Formula = Literal["crimson", "green", "rubric"]
"""CRIMSON and GREEN are of reports; `rubric` grades free responses, each by what its row states."""

AgreementMeasure = Literal["kappa", "linear_kappa", "weighted_kappa"]


class Validity(Section):
    """Recorded human scores that tell how far a judge of rubrics can be relied on."""

    path: str = Field(
        description="JSON lines: question, reference, hypothesis, rubric as a row states it, and `scores` of one rater "
        "or more."
    )
    at_least: float = Field(
        0.6, ge=0, le=1, description="Agreement below which the judge's columns are grey and never primary."
    )
    measure: AgreementMeasure = Field(
        "weighted_kappa",
        description="Which agreement: Cohen's kappa; linear_kappa weighs by distance, weighted_kappa by its square.",
    )

    @property
    def file(self) -> Path:
        """The file, a leading `~` resolved."""
        return Path(self.path).expanduser()


class RuleBasedJudge(Section):
    """Deterministic rules and a vocabulary for chest X-ray sentences; needs no model."""

    backend: Literal["rule_based"] = "rule_based"

    def judging_spec(self) -> str:
        """Canonical JSON of what a judgement depends on."""
        return self.spec()


class _ModelJudge(Section):
    """What every judge that replies in free text has."""

    metric: Formula = Field(
        description="Whose prompt it answers, and whose formula scores its reply. CRIMSON and GREEN judge reports; "
        "`rubric` grades free responses by what each row states."
    )
    guidelines: bool = Field(
        False, description="CRIMSON's guidelines in the prompt; its own tuned judge was trained without."
    )
    retries: int = Field(2, ge=0, le=2, description="Further tries after an invalid reply.")
    invalid_share: float = Field(0.2, ge=0, le=1, description="The step stops above this share of invalid replies.")
    freeze_references: bool = Field(
        True, description="CRIMSON: weigh a reference once, by itself, so that all systems share a denominator."
    )
    max_new_tokens: int = Field(2048, ge=1, description="Most tokens of a reply.")
    validity: Validity | None = Field(
        None,
        description="Of a judge of rubrics: path to recorded human scores, at_least, measure. Without it its columns "
        "are grey, as those of a judge that agrees too little.",
    )

    @model_validator(mode="after")
    def _validity_of_rubrics(self) -> "_ModelJudge":
        if self.validity is not None and self.metric != "rubric":
            raise ValueError("`validity` compares a judge of rubrics with human scores; set `metric: rubric`")
        return self

    def judging_spec(self) -> str:
        """Canonical JSON of what a judgement depends on: human scores that it is compared with change none."""
        return canonical_json(self.model_dump(mode="json", exclude={"validity"}))


class RecordedJudge(_ModelJudge):
    """Replies that someone recorded: JSON lines with `reference`, `hypothesis`, `reply`, and `rubric` or `question`."""

    backend: Literal["recorded"] = "recorded"
    path: str = Field(description="File of the replies.")

    @property
    def file(self) -> Path:
        """The file, a leading `~` resolved."""
        return Path(self.path).expanduser()


class ServerJudge(_ModelJudge):
    """A chat model behind an OpenAI-compatible server."""

    backend: Literal["openai"] = "openai"
    url: ServerURL
    model: str = Field(description="Name of the model on the server.")
    revision: str = Field(description="What names the model's state: a commit or a date; part of the judge's identity.")
    token_variable: str | None = Field(None, description="Environment variable that holds the token, if one is needed.")
    workers: int = Field(8, ge=1, description="Requests under way at a time.")
    timeout: float = Field(300, gt=0, description="Seconds until a request is given up.")


class CheckpointJudge(_ModelJudge):
    """What every judge that is loaded here has."""

    checkpoint: str = Field(description="Repository on the hub, or a local folder.")
    revision: MovingRevision | None = Field(
        None, description="Full commit, or `main`, which is resolved once and recorded; null for a local folder only."
    )
    gated: bool = Field(False, description="Whether a token is needed: HF_TOKEN, or that of `hf auth login`.")
    batch: int | None = Field(
        None, ge=1, description="Most pairs generated together; null: 256 on a GPU, fewer where it does not hold them."
    )
    gpus: int = Field(1, ge=0, description="GPUs of a job; its pairs are scattered over them.")
    shards: int = Field(1, ge=1, description="Jobs that share the pairs of a split; each loads the judge once.")

    @model_validator(mode="before")
    @classmethod
    def _a_folder_has_no_revision(cls, given: object) -> object:
        """A preset's `main` is a revision of the hub; a local folder given in place of its checkpoint has none."""
        if isinstance(given, dict) and "revision" not in given:
            checkpoint = given.get("checkpoint")
            if isinstance(checkpoint, str) and Path(checkpoint).expanduser().is_dir():
                return given | {"revision": None}
        return given


class TransformersJudge(CheckpointJudge):
    """A checkpoint, loaded here: any causal model that follows the metric's prompt."""

    backend: Literal["transformers"] = "transformers"


class CrimsonJudge(CheckpointJudge):
    """CRIMSON's own judge, MedGemma 4B tuned by its authors: a preset of `transformers`."""

    backend: Literal["crimson"] = "crimson"
    metric: Formula = "crimson"
    checkpoint: str = "rajpurkarlab/medgemma-4b-it-crimson"
    revision: MovingRevision | None = "main"


class GreenJudge(CheckpointJudge):
    """GREEN's own judge, RadLlama2 7B: a preset of `transformers`."""

    backend: Literal["green"] = "green"
    metric: Formula = "green"
    checkpoint: str = "StanfordAIMI/GREEN-radllama2-7b"
    revision: MovingRevision | None = "main"


Judge = Annotated[
    RuleBasedJudge | RecordedJudge | ServerJudge | CrimsonJudge | GreenJudge | TransformersJudge,
    Discriminator("backend"),
]


class JudgeSection(RootModel[Judge]):
    """A section of `judges`, whatever its backend."""

    model_config = ConfigDict(frozen=True)
