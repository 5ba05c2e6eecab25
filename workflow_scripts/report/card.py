"""Step: the model card of an adapter in the hub's format, with its metrics on every evaluated split.

Training writes a card before any metric exists. This one is its copy, with `model-index`, the datasets of the hub and a
table of results added; nothing is trained again for a changed metric.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile, write_text
from workflow_scripts.core.pages.texts import metric_label
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.escaping import markdown_cell
from workflow_scripts.report.lineage import read_configuration, read_object
from workflow_scripts.report.tables import markdown_table

TASK_TYPE = "image-text-to-text"
"""What the hub calls questions on images."""

CARE = """\
Intervals are over cases. CRIMSON and GREEN were validated on reports of chest X-rays and are exploratory elsewhere; a
rule-based judge is neither. Other data, devices and patients may give other results. For research use only.
"""


def eval_results(
    values: Iterable[MetricValue], split: str, dataset: str, source: dict[str, Any], revision: str | None
) -> list[EvalResult]:
    """Entries of `model-index`: the primary metric of each task, averaged over subsets.

    Args:
        values: metrics of one system on one split.
        split: its name in the configuration.
        dataset: the dataset's name in the configuration.
        source: the dataset's section of the configuration.
        revision: commit of the dataset, where it has one.
    """
    return [
        EvalResult(
            task_type=TASK_TYPE,
            task_name=value.task.replace("_", " "),
            dataset_type=source.get("repo") or dataset,
            dataset_name=f"{dataset}, {split}, {value.task.replace('_', ' ')}",
            dataset_config=value.task,  # else the hub takes all tasks of a dataset for one
            dataset_split=split,
            dataset_revision=revision,
            metric_type=value.metric,
            metric_name=metric_label(value.metric, value.judge),
            metric_value=round(value.value, 6),
            metric_args={
                "low": None if value.low is None else round(value.low, 6),
                "high": None if value.high is None else round(value.high, 6),
                "questions": value.rows,
                "cases": value.clusters,
                "valid_share": round(value.valid_share, 6),
                "better": value.direction,
                "definition": value.definition,
            },
        )
        for value in values
        if value.primary and value.subset == "macro" and value.value is not None
    ]


def write_card(
    *,
    system: str,
    splits: list[str],
    metrics: list[Path],
    results: Path,
    out: Path,
    bases: Sequence[str] = (),
) -> None:
    """Write the model card of an adapter with its metrics.

    Args:
        system: name of the tuned system.
        splits: evaluated splits.
        metrics: tables of metrics, one a split, in their order.
        results: results folder, which holds the adapter with the card that training wrote.
        out: card to write.
        bases: systems of the same model that are not tuned, which stand beside it in the table.

    Raises:
        BadFile: the adapter has no card, or it is damaged.
    """
    place = results / f"systems/{system}/adapter/README.md"
    configuration = read_configuration(results)
    try:
        card = ModelCard(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{place} is not a model card ({error}); run the training of this system again") from None
    entries, tables = [], []
    for split, file in zip(splits, metrics, strict=True):
        values = [value for value in read_rows(file, MetricValue) if value.subset == "macro"]
        dataset = configuration["splits"][split]["dataset"]
        shown = [value for value in values if value.system in (*bases, system)]
        own = [value for value in shown if value.system == system]
        revision = revision_of(results, dataset)
        entries += eval_results(own, split, dataset, configuration["datasets"][dataset], revision)
        tables.append(f"## Results on {markdown_cell(split)}\n\n{markdown_table(shown, [*bases, system])}")
    trained_on = configuration["splits"][configuration["systems"][system]["train"]]["dataset"]
    if repo := configuration["datasets"][trained_on].get("repo"):
        card.data["datasets"] = [repo]
    card.data["model_name"] = f"{system} (flarebench)"
    card.data["eval_results"] = entries
    write_text(out, "\n".join([str(card).rstrip("\n") + "\n", *tables, CARE]))


def revision_of(results: Path, dataset: str) -> str | None:
    """The commit of a dataset of the hub, as the download recorded it."""
    manifest = results / f"data/{dataset}/manifest.json"
    return read_object(manifest)["source"].get("revision") if manifest.is_file() else None


if __name__ == "__main__":
    run_step(write_card)
