"""Cache keys: a hash over the named parts that a value depends on."""

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of

DIGITS = 32


def cache_key(kind: str, **parts: object) -> str:
    """The key of a value of `kind`: 32 hexadecimal digits of SHA-256 over the canonical JSON of its named parts.

    Args:
        parts: everything that the value depends on, as JSON can hold it. A part that is left out is another key than
            one that is None.

    Raises:
        TypeError: JSON cannot hold a part.
    """
    return sha256_of(canonical_json({"kind": kind, "parts": parts}).encode())[:DIGITS]
