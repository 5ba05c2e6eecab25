"""The files of upstream packages that word a judge's prompt: their content, for a plan, without importing them."""

from importlib.util import find_spec
from pathlib import Path

from workflow_scripts.core.config.judges import Formula
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of, sha256_of_file

FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "crimson": ("CRIMSON", ("prompt_parts.py", "generate_score.py", "utils.py")),
    "green": ("radeval", ("metrics/green_score/utils.py", "metrics/green_score/green.py")),
}
"""By metric: the package, and its files of prompts, templates and the reading of replies. Rubrics need no package."""


def prompt_files(metric: Formula) -> str:
    """A hash over these files, 16 digits; empty where there are none, or the package is not installed."""
    if metric not in FILES:
        return ""
    package, names = FILES[metric]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ""
    files = [Path(spec.submodule_search_locations[0]) / name for name in names]
    hashes = [sha256_of_file(file) if file.is_file() else None for file in files]
    return sha256_of(canonical_json(hashes).encode())[:16]
