"""What travels with tuned weights: a card that says what they were tuned from, on and how, and the base's name."""

import json
from pathlib import Path

from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.files import read_json, write_json, write_text
from workflow_scripts.models.record import FULL_WEIGHTS, ModelRecord

_HEALTH_AI = {
    "license": "other",
    "license_name": "health-ai-developer-foundations",
    "license_link": "https://developers.google.com/health-ai-developer-foundations/terms",
}
LICENCES: dict[str, dict[str, str]] = {
    "google/medgemma": _HEALTH_AI,
    "google/gemma-3": {"license": "gemma"},
    "google/paligemma2": {"license": "gemma"},
    "Qwen/Qwen3": {"license": "apache-2.0"},
    "HuggingFaceTB/Smol": {"license": "apache-2.0"},
    "StanfordAIMI/CheXagent-2": {"license": "mit"},
}
"""The licence of checkpoints whose name begins so, in the keys of the hub's cards; an adapter is under its base's."""

CONTENTS_OF_FULL = f"""`{FULL_WEIGHTS}` holds the tensors that were trained, in float32; every other one is the
base's. Put them in its place, or write the whole checkpoint with the workflow's target `merge`.

"""
"""What a card says of files that no library loads by themselves."""


def licence_of(record: ModelRecord) -> dict[str, str]:
    """Keys of the hub's cards for the base's licence; nothing where it is not known."""
    named = record.checkpoint or ""
    return next((keys for start, keys in LICENCES.items() if named.startswith(start)), {})


def name_base(adapter: Path, record: ModelRecord) -> None:
    """Let the settings of an adapter name its base as others know it, and not the folder that it was loaded from.

    The hub's repository and commit; a local checkpoint's or the toy model's name in the configuration. What the
    trainer leaves besides, a pickle of its arguments with paths of this machine, is removed.
    """
    file = adapter / "adapter_config.json"
    settings: dict = dict(read_json(file))  # type: ignore[call-overload]
    revision = record.revision if record.checkpoint else None
    write_json(file, settings | {"base_model_name_or_path": record.public_name, "revision": revision})
    (adapter / "training_args.bin").unlink(missing_ok=True)


def write_card(path: Path, recipe: Recipe, record: ModelRecord, data_hash: str, rows: int, log: list[dict]) -> None:
    """Write the card to `path`. `log` holds the trainer's loss entries, the last one last.

    Metrics exist only after scoring: the rule `report_card` adds them, with the datasets, to a copy of this card.
    """
    losses = [entry for entry in log if "loss" in entry]
    last = f"{losses[-1]['loss']:.4f} after {losses[-1]['step']} steps" if losses else "not logged"
    full = recipe.weights is not None
    card = {
        "library_name": "transformers" if full else "peft",
        "pipeline_tag": "image-text-to-text",
        "tags": ["flarebench", *([] if full else ["lora"]), "medical", "trl"],
        "base_model": record.public_name,
        "base_model_relation": "finetune" if full else "adapter",
        **licence_of(record),
    }
    title, what, contents = ("Weights", "these weights", CONTENTS_OF_FULL) if full else ("Adapter", "this adapter", "")
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in card.items())
    write_text(
        path,
        f"""---
{front}
---
# {title} tuned by flarebench

{contents}| | |
| --- | --- |
| base | {record.public_name} at `{record.revision}` |
| training rows | {rows}, Parquet sha256 `{data_hash}` |
| last training loss | {last} |

Recipe:

```json
{json.dumps(recipe.model_dump(mode="json"), indent=2)}
```

Limits: for research; not a medical device. The licences of the base model and of the data apply to {what};
FLARE-MLLM-2D is to be treated as non-commercial.
""",
    )
