"""Who generates answers besides the model loaded here: servers that speak OpenAI's protocol."""

from typing import Annotated

from pydantic import Field, StringConstraints

from workflow_scripts.core.config.section import Section

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
