"""Phrases of the methods section: what was trained, where it ran, which software wrote it; and lists of words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.scoring import Groups, Scoring
from workflow_scripts.core.config.systems.model import Samples, Shots
from workflow_scripts.report.escaping import markdown_cell
from workflow_scripts.report.lineage import read_object

UNKNOWN = "not recorded"

TARGETS = {
    "language": "all projections of every layer of the language model, with a frozen vision tower",
    "attention": "the attention projections (query, key, value, output) of every layer of the language model, with a "
    "frozen vision tower",
    "all-linear": "all linear layers of the language model and of the vision tower",
}

LIBRARIES = {"torch": "PyTorch", "transformers": "transformers", "peft": "PEFT", "trl": "TRL"}


def training_words(recipe: Recipe) -> str:
    """What a recipe changes, and how."""
    if recipe.lora is None:
        return f"full-weight training of {TARGETS[recipe.touched]}, in float32, everything else being frozen"
    lora, quantised = recipe.lora, recipe.quantisation == "nf4"
    text = "QLoRA: the base was loaded in 4 bits (NF4, double quantisation), and " if quantised else "LoRA: "
    products = ", the frozen weights being multiplied by in 8-bit floating point (e4m3)" if recipe.fp8 else ""
    return (
        f"{text}low-rank adapters of rank {lora.r} (alpha {lora.alpha}, dropout {lora.dropout:g}) were trained on "
        f"{TARGETS[lora.targets]}{products}"
    )


def shots_words(shots: Shots) -> str:
    """What stands before questions, and how it is drawn."""
    sets = {"task": "task", "subset": "task and subset", "question": "task, subset and wording of the question"}
    text = f"shown {number_of(shots.count, 'answered row')} of `{shots.source}` before each question"
    text += "" if shots.images else ", without their images"
    text += f" (one set for each {sets[shots.by]}, drawn with seed {shots.seed}"
    text += ", classes of the answers in turn" if shots.balance else ""
    return f"{text}; none shares a case or an image with the evaluated rows)"


def samples_words(name: str, samples: Samples, served: bool) -> str:
    """How several answers to a row were drawn, and which counts."""
    where = f", behind an OpenAI-compatible server whose software is {UNKNOWN}," if served else ""
    nucleus = f" from the likeliest tokens of a probability of {samples.top_p:g}" if samples.top_p < 1 else ""
    return (
        f"`{name}` answered each row {samples.draws:,} times{where} at temperature {samples.temperature:g}{nucleus}; "
        "the answer that counts is the commonest reading, or of numbers the lower median. "
    )


def choice_words(choice: Mapping[str, Any]) -> str:
    """How a sweep chose among its settings, from its `selection.json`."""
    if "chosen" not in choice:
        return f"the setting that its sweep chose, which is {UNKNOWN}"
    by = "least loss" if choice["metric"] == "loss" else "greatest mean score of the answers"
    return (
        f"the setting `{choice['chosen']}`, chosen from {len(choice['settings'])} by the {by} on rows that were held "
        "back from training, before the evaluated rows were selected"
    )


def hardware_words(folder: Path, seen: Mapping[str, Any]) -> str:
    """Where a training ran, for how long, and with which libraries."""
    speed = object_of(folder / "speed.json")
    device = speed.get("device") or next(iter(seen.get("gpus", ())), None)
    if device is None:
        text = f"The hardware of this training is {UNKNOWN}"
    else:
        text = f"It ran on {'the CPU' if device == 'cpu' else markdown_cell(str(device))}"
    seconds, peak = speed.get("seconds"), speed.get("peak_gib")
    text += f" for {seconds / 60:,.1f} minutes" if seconds else f"; its duration is {UNKNOWN}"
    if device != "cpu":
        text += f", with a peak of {peak:.1f} GiB of memory" if peak else f"; its peak of memory is {UNKNOWN}"
    packages = seen.get("packages", {})
    versions = listed(f"{label} {packages[name]}" for name, label in LIBRARIES.items() if name in packages)
    return f"{text}. " + (f"Libraries: {versions}." if versions else f"Versions of libraries are {UNKNOWN}.")


def software_words(here: Mapping[str, Any], configuration: str) -> str:
    git = here["git"]
    at = f"commit {git['commit']}{', with changes that were not committed' if git['dirty'] else ''}" if git else ""
    return (
        f"flarebench {here['workflow'] or UNKNOWN} ({at or f'commit {UNKNOWN}'}) on Python {here['python']} wrote "
        f"these tables; SHA-256 of the configuration {configuration}. `results.json` beside this text has the SHA-256 "
        "of every file that the numbers come from. For research use only."
    )


def groups_words(groups: Groups, scoring: Scoring) -> str:
    """How gaps between groups are tested; empty where no group is configured."""
    if not groups.columns:
        return ""
    percent = f"{100 * scoring.confidence:g}%"
    return (
        f" Primary metrics are also given by {listed(map(markdown_cell, groups.columns))}. Gaps between values of at "
        f"least {groups.least_cases} cases have intervals that hold together at {percent} (maximum over all pairs, or "
        "over all values against the others; the factor is the larger one of a bootstrap of cases and of permutations "
        "of the labels over cases), and p values of these permutations, corrected for the number of values, and over "
        "systems, tasks and groups by Holm's rule (largest less smallest) or Bonferroni's (a value against the others)."
    )


def object_of(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def last_step(history: Path) -> int | None:
    if not history.is_file():
        return None
    steps = pq.read_table(history, columns=["step"])["step"].to_pylist()
    return max(steps, default=None)


def counts_of(table: Path, column: str) -> Counter[str] | None:
    """How often each value stands in a column; None where there is no such table."""
    return Counter(pq.read_table(table, columns=[column])[column].to_pylist()) if table.is_file() else None


def counted(counts: Counter[str], unit: str) -> str:
    parts = (f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.most_common())
    total = f"{number_of(sum(counts.values()), unit)} (" if unit else ""
    return f"{total}{listed(parts)}{')' if unit else ''}"


def number_of(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    parts = list(parts)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
