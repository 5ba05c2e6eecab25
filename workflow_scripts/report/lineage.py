"""From a table back to the data: the files below the results that the numbers of a split come from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of, sha256_of_file

CONFIGURATION = "configuration.json"
"""Below the results: the configuration of the last run that was started."""


def origins(results: Path, configuration: dict[str, Any], split: str, system: str) -> dict[str, str]:
    """Paths below `results` of what a system's numbers on a split come from, by what they are."""
    entry = configuration["systems"][system]
    route = entry.get("route") or {}
    paths = {
        "metrics": f"scores/{split}/metrics.parquet",
        "outcomes": f"scores/{split}/{system}/outcomes.parquet",
        "predictions": f"predictions/{split}/{system}.parquet",
        "rows": f"splits/{split}/rows.parquet",
        "data": f"data/{configuration['splits'][split]['dataset']}/manifest.json",
    }
    if entry.get("recipe"):
        paths["adapter"] = f"systems/{system}/adapter/adapter_model.safetensors"
        paths["weights"] = f"systems/{system}/adapter/weights.safetensors"  # trained in full: one of the two is there
        paths["selection"] = f"systems/{system}/selection.json"
    if entry.get("adapter"):
        paths["published adapter"] = f"models/adapters/{system}.json"
    if entry.get("encoder"):
        paths["tuned encoder"] = f"systems/{system}/encoder/encoder.json"
        paths["encoder"] = f"models/encoders/systems/{system}.json"
    if entry.get("model"):
        paths["model"] = f"models/{entry['model']}.json"
    if train := entry.get("train") or route.get("train"):
        paths["training rows"] = f"splits/{train}/rows.parquet"
        paths["training data"] = f"data/{configuration['splits'][train]['dataset']}/manifest.json"
    if route:
        paths |= _origins_of_route(results, configuration, split, system, route)
    return {name: path for name, path in paths.items() if (results / path).is_file()}


def _origins_of_route(
    results: Path, configuration: dict[str, Any], split: str, system: str, route: dict[str, Any]
) -> dict[str, str]:
    """What chose the experts, and what is each expert's own; the rows and metrics of the split are the system's too."""
    paths = {
        "routes": f"predictions/{split}/{system}.routes.parquet",
        "router": f"systems/{system}/router/router.json",
        "encoder": f"models/encoders/routers/{system}.json",
    }
    shared = ("metrics", "rows", "data")
    for expert in dict.fromkeys(name for name in (*route["experts"].values(), route["default"]) if name):
        own = origins(results, configuration, split, expert)
        paths |= {f"{expert}: {name}": path for name, path in own.items() if name not in shared}
    return paths


def lineage(results: Path, split: str, systems: Iterable[str]) -> dict[str, Any]:
    """What a table of `split` stands on: the configuration, SHA-256 of all its files, and the models' revisions.

    Judges and encoders that are loaded here are among the models: `judges/{judge}`, `encoders/bertscore`.
    """
    configuration = read_configuration(results)
    of_systems = {path for system in systems for path in origins(results, configuration, split, system).values()}
    scorers = [f"models/judges/{judge}.json" for judge in configuration.get("judges", {})]
    scorers.append("models/encoders/bertscore.json")
    paths = sorted(of_systems.union(path for path in scorers if (results / path).is_file()))
    records = {path: read_object(results / path) for path in paths if path.startswith("models/")}
    return {
        "configuration": configuration,
        "configuration_sha256": sha256_of(canonical_json(configuration).encode()),
        "files": {path: sha256_of_file(results / path) for path in paths},
        "revisions": {
            path.removeprefix("models/").removesuffix(".json"): record["revision"] for path, record in records.items()
        },
    }


def read_configuration(results: Path) -> dict[str, Any]:
    """The configuration of the run that filled `results`.

    Raises:
        BadFile: it is not there.
    """
    configuration = read_object(results / CONFIGURATION)
    if "systems" not in configuration:
        raise BadFile(f"{results / CONFIGURATION} is not a configuration; run the workflow again")
    return configuration


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object that this workflow wrote.

    Raises:
        BadFile: the file is missing, damaged, or holds another kind of value.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadFile(f"{path} is not a JSON object; delete it and run again")
    return value
