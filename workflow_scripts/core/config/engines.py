"""How answers are generated, and who does it besides the model loaded here: servers that speak OpenAI's protocol."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.tasks import tasks

ServerURL = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^/@?#\s]+(/[^@?#\s]*)?$"),
    Field(description="Address up to and with `/v1`, without a password or query: it is printed."),
]


class ServerEngine(Section):
    """An OpenAI-compatible server: `vllm serve` with adapters as LoRA modules first among them."""

    url: ServerURL
    token_variable: str | None = Field(None, description="Environment variable that holds the token, if one is needed.")
    workers: int = Field(16, ge=1, description="Requests under way at a time.")
    timeout: float = Field(300, gt=0, description="Seconds until a request is given up.")
    retries: int = Field(5, ge=0, description="Further tries of a request that failed, with growing pauses.")


class Inference(Section):
    """How answers are generated."""

    shards: int = Field(2, ge=1, description="Jobs that share the rows of a split.")
    together: tuple[tuple[Name, ...], ...] = Field(
        (),
        description="Systems of one model that one job answers with one load, its adapters put in one after the other: "
        "[[base, tuned]]. They are then planned together too.",
    )
    max_new_tokens: dict[str, int] = Field(
        {task.name: task.max_new_tokens for task in tasks().values()},
        description="Most tokens of an answer, by task; a task that is left out has its default.",
    )

    @field_validator("max_new_tokens")
    @classmethod
    def _known_tasks(cls, limits: dict[str, int]) -> dict[str, int]:
        for name, limit in limits.items():
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
            if limit < 1:
                raise ValueError(f"{name}: {limit} tokens; expected at least 1")
        return {task.name: limits.get(task.name, task.max_new_tokens) for task in tasks().values()}


class Container(Section):
    """What `snakemake container` packs for a challenge: systems that answer without this workflow and a network."""

    systems: tuple[Name, ...] = Field(
        (), description="Systems to pack, each into a folder of its name; empty: every tuned one."
    )
    folder: str | None = Field(None, description="Folder of these folders; null: `container` below the results.")
    base_image: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*:[A-Za-z0-9._-]+$")] | None = (
        Field(None, description="Image with Python that it is built on, NAME:TAG; null: Debian's, of this Python.")
    )
    gigabytes: float = Field(30.0, gt=0, description="Most that an image may hold.")
    seconds: float | None = Field(
        None, gt=0, description="Most that `predict.sh` may take; it says whether it did. null: no limit."
    )

    def to_pack(self, tuned: Sequence[str], loaded: Sequence[str]) -> list[str]:
        """The systems to pack: those that are named, else the `tuned` ones among those that jobs here have `loaded`.

        Raises:
            ValueError: there are none, so that the target `container` would do nothing.
        """
        names = [name for name in self.systems or tuned if name in loaded]
        if not names:
            raise ValueError(
                f"container: no system is tuned; name one in container.systems: {', '.join(loaded) or 'none'}"
            )
        return names
