"""The upstream judges' own prompts and text functions, from the packages that publish them; nothing is copied here.

The packages are imported when they are used: `crimson-score` and `RadEval` are needed by model judges only.
"""

import ast
import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from workflow_scripts.core.files import BadFile
from workflow_scripts.judges.crimson import JudgementJSON


class MissingPackage(BadFile):
    """A package of an upstream judge is not installed."""


def _source(distribution: str, package: str, inside: str) -> tuple[str, str]:
    """A name for one file of a package, and its path.

    Raises:
        MissingPackage: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"model judges need `pip install --no-deps {distribution}`: package {package} is missing")
    return f"_{package}_{inside.replace('/', '_')}", f"{spec.submodule_search_locations[0]}/{inside}.py"


@cache
def _module(distribution: str, package: str, inside: str) -> ModuleType:
    """One file of a package, loaded alone: importing the whole package would load models' code or use the network."""
    name, place = _source(distribution, package, inside)
    loaded = importlib.util.spec_from_file_location(name, place)
    assert loaded is not None and loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return module


def crimson_prompt(reference: str, hypothesis: str, context: dict[str, Any] | None = None, *, guidelines: bool) -> str:
    """CRIMSON's user prompt. `guidelines` is off for the judge that was trained without them."""
    parts = _module("crimson-score", "CRIMSON", "prompt_parts")
    prompt: str = parts.build_prompt(
        reference,
        hypothesis,
        patient_context=context,
        include_significance_examples=guidelines,
        include_attribute_guidelines=guidelines,
        include_context_guidelines=guidelines,
    )
    return prompt


@cache
def crimson_system() -> str:
    """CRIMSON's system message: the one constant under `"role": "system"` in its source."""
    _, place = _source("crimson-score", "CRIMSON", "generate_score")
    for node in ast.walk(ast.parse(Path(place).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            entries = {
                key.value: value.value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            }
            content = entries.get("content")
            if entries.get("role") == "system" and isinstance(content, str):
                return content
    raise MissingPackage("package CRIMSON holds no system message; install crimson-score 0.2.0")


def crimson_reply(text: str) -> object:
    """CRIMSON's own reading of a reply.

    Raises:
        ValueError: upstream cannot read it.
    """
    return _module("crimson-score", "CRIMSON", "utils").parse_json_response(text)


def radeval_reply(text: str) -> JudgementJSON:
    """RadEval's own reading of a CRIMSON reply. Importing RadEval asks nltk for a download; only parity tests do.

    Raises:
        ValueError: RadEval cannot read it.
    """
    import radeval.metrics.crimson.crimson as radeval

    cleaned = radeval._extract_json_str(text)
    try:
        judgement: JudgementJSON = radeval._parse_json_response_robust(cleaned)
    except ValueError:
        repaired = radeval._repair_truncated_json(cleaned)
        if repaired is None:
            raise
        judgement = json.loads(repaired)
    radeval._validate_crimson_response(judgement)
    return judgement


def crimson_clean(text: str) -> str:
    """CRIMSON's own cleaning of a report."""
    cleaned: str = _module("crimson-score", "CRIMSON", "utils").clean_report_text(text)
    return cleaned


def green_prompt(reference: str, hypothesis: str) -> str:
    """GREEN's user prompt; each report is cut to 300 words."""
    prompt: str = _module("RadEval", "radeval", "metrics/green_score/utils").make_prompt(reference, hypothesis)
    return prompt


def green_template() -> str:
    """GREEN's chat template: the one constant with its turn marks in RadEval's source."""
    _, place = _source("RadEval", "radeval", "metrics/green_score/green")
    for node in ast.walk(ast.parse(Path(place).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "<|user|>" in node.value:
            return node.value
    raise MissingPackage("package radeval holds no chat template of GREEN; install RadEval 2.2.1")


def green_clean(text: str) -> str:
    """GREEN's own cleaning of a decoded reply."""
    cleaned: str = _module("RadEval", "radeval", "metrics/green_score/utils").clean_responses(text)
    return cleaned
