"""Keyed pseudonyms: the same for the same value and key on any machine, and of no use without the key.

The key is in the environment variable `FLAREBENCH_PSEUDONYM_KEY`, or in a file outside the results, which is written
once. Whoever holds key and data can repeat the pseudonyms; nobody can turn one back into what it stands for.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.files import BadFile

ENVIRONMENT = "FLAREBENCH_PSEUDONYM_KEY"
"""The environment variable that holds the key."""

LEAST = 16
"""Characters that a key has at least."""

DIGITS = 16
"""Hexadecimal digits of a pseudonym: 64 bits, so that two of a million values share one with a chance of 3e-8."""


def key_file() -> Path:
    """Where the key lies if the environment holds none: in the user's folder of settings."""
    settings = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(settings) / "flarebench" / "pseudonyms.key"


def given_key() -> str | None:
    """The key of the environment or of the file; None where there is none yet.

    Raises:
        BadFile: it is too short, or the file cannot be read.
    """
    if key := os.environ.get(ENVIRONMENT):
        return _long_enough(key, f"the environment variable {ENVIRONMENT}")
    file = key_file()
    try:
        return _long_enough(file.read_text(encoding="ascii").strip(), str(file))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise BadFile(f"{file} cannot be read; it holds the key of the pseudonyms, or set {ENVIRONMENT}") from None


def secret_key() -> str:
    """The key; where there is none, one is drawn and written to `key_file()`, for its owner alone.

    Raises:
        BadFile: there is none and the file cannot be written.
    """
    if (key := given_key()) is not None:
        return key
    file = key_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A file that is there under its name is whole: others may read it at the same time.
        partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        partial.touch(mode=0o600, exist_ok=False)
        partial.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
        try:
            os.link(partial, file)  # fails where another process was first
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    except OSError as error:
        raise BadFile(
            f"{file} cannot be written ({error.strerror}): it is to hold the key of the pseudonyms; set {ENVIRONMENT}"
        ) from None
    return given_key() or ""


def _long_enough(key: str, place: str) -> str:
    if len(key) < LEAST:
        raise BadFile(
            f"{place} holds a key of {len(key)} characters; expected {LEAST} or more, as `openssl rand -hex 32`"
        )
    return key


@dataclass(frozen=True)
class Pseudonyms:
    """HMAC-SHA256 (RFC 2104) of a value under a key, cut to what a name needs."""

    key: str

    def of(self, kind: str, value: str) -> str:
        """The pseudonym of a value of one kind (patient, series, hospital …), 16 hexadecimal digits."""
        return self._digest(kind, value).hex()[:DIGITS]

    def uid(self, value: str) -> str:
        """The unique identifier that takes the place of another: PS3.5 B.2's form `2.25.` with a 128-bit number."""
        return f"2.25.{int.from_bytes(self._digest('uid', value)[:16], 'big')}"

    def _digest(self, kind: str, value: str) -> bytes:
        text = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key.encode(), text, hashlib.sha256).digest()
