"""What every section of the configuration shares: frozen, unknown keys forbidden, one canonical JSON form."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Revision = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{40}$"),
    Field(description="Full commit of the repository: 40 hexadecimal digits."),
]
MOVING = "main"
MovingRevision = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|main)$")]
"""A full commit, or `main`: resolved to a commit when it is fetched, and recorded."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A name that becomes part of a path: letters, digits, `_` and `-`."""


class Section(BaseModel):
    """A frozen section of the configuration that forbids unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        """YAML 1.1 reads the key `on` as true; no key is a boolean."""
        if isinstance(given, dict) and True in given and "on" in cls.model_fields:
            return {"on" if key is True else key: value for key, value in given.items()}
        return given

    def spec(self) -> str:
        """Canonical JSON of this section: the identity of the work that it describes."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
