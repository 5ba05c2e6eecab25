"""From a table back to the data: which files below the results stand behind the numbers of a split."""

from pathlib import Path

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of, sha256_of_file

CONFIGURATION = "configuration.json"
"""Below the results: the configuration of the last run that was started."""


def behind(results: Path, configuration: dict, split: str, system: str) -> dict[str, str]:
    """Paths below `results` of what a system's numbers on a split come from, by what they are."""
    entry = configuration["systems"][system]
    found = {
        "metrics": f"scores/{split}/metrics.parquet",
        "outcomes": f"scores/{split}/{system}/outcomes.parquet",
        "predictions": f"predictions/{split}/{system}.parquet",
        "rows": f"splits/{split}/rows.parquet",
        "data": f"data/{configuration['splits'][split]['dataset']}/manifest.json",
    }
    if entry.get("recipe"):
        found["adapter"] = f"systems/{system}/adapter/adapter_model.safetensors"
    if entry.get("model"):
        found["model"] = f"models/{entry['model']}.json"
    if entry.get("train"):
        found["training rows"] = f"splits/{entry['train']}/rows.parquet"
        found["training data"] = f"data/{configuration['splits'][entry['train']]['dataset']}/manifest.json"
    return {name: path for name, path in found.items() if (results / path).is_file()}


def lineage(results: Path, split: str, systems: list[str]) -> dict:
    """What a table of `split` stands on: the configuration, SHA-256 of all files behind it, and model revisions."""
    configuration = read_configuration(results)
    paths = sorted({path for system in systems for path in behind(results, configuration, split, system).values()})
    records = {path: read_json(results / path) for path in paths if path.startswith("models/")}
    return {
        "configuration": configuration,
        "configuration_sha256": sha256_of(canonical_json(configuration).encode()),
        "files": {path: sha256_of_file(results / path) for path in paths},
        "revisions": {record["name"]: record["revision"] for record in records.values()},
    }


def read_configuration(results: Path) -> dict:
    """The configuration of the run that filled `results`.

    Raises:
        BadFile: it is not there.
    """
    found = read_json(results / CONFIGURATION)
    if not isinstance(found, dict) or "systems" not in found:
        raise BadFile(f"{results / CONFIGURATION} is no configuration; run the workflow again")
    return found
