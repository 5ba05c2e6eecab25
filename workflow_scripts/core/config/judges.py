"""Judges of report answers: rules, a model loaded here, a model behind a server, or recorded replies."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, RootModel

from workflow_scripts.core.config.engines import ServerURL
from workflow_scripts.core.config.section import Revision, Section

Formula = Literal["crimson", "green"]


class RuleBasedJudge(Section):
    """Deterministic rules and a vocabulary for chest X-ray sentences; needs no model."""

    backend: Literal["rule_based"] = "rule_based"


class _ModelJudge(Section):
    """What every judge that replies in free text has."""

    metric: Formula = Field(description="Whose prompt it answers, and whose formula scores its reply.")
    guidelines: bool = Field(
        False, description="CRIMSON's guidelines in the prompt; its own tuned judge was trained without."
    )
    retries: int = Field(2, ge=0, le=2, description="Further tries after an invalid reply.")
    invalid_share: float = Field(0.2, ge=0, le=1, description="The step stops above this share of invalid replies.")
    freeze_references: bool = Field(
        True, description="CRIMSON: weigh a reference once, by itself, so that all systems share a denominator."
    )
    max_new_tokens: int = Field(2048, ge=1, description="Most tokens of a reply.")


class RecordedJudge(_ModelJudge):
    """Replies that someone recorded: JSON lines with `reference`, `hypothesis` and `reply`."""

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


class TransformersJudge(_ModelJudge):
    """A checkpoint, loaded here: MedGemma-CRIMSON, GREEN-RadLlama2, or another causal model."""

    backend: Literal["transformers"] = "transformers"
    checkpoint: str = Field(description="Repository on the hub, or a local folder.")
    revision: Revision | None = Field(None, description="Full commit; null for a local folder only.")
    batch: int = Field(64, ge=1, description="Pairs generated together; pairs of like length share a batch.")
    gpus: int = Field(1, ge=0, description="GPUs; the pairs are scattered over them.")


Judge = Annotated[RuleBasedJudge | RecordedJudge | ServerJudge | TransformersJudge, Discriminator("backend")]


class JudgeSection(RootModel[Judge]):
    """A section of `judges`, whatever its backend."""

    model_config = ConfigDict(frozen=True)
