"""The model card that travels with an adapter: what it was tuned from, on and how."""

import json
from pathlib import Path

from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.files import write_text


def write_card(
    path: Path, recipe: Recipe, base: str, revision: str, data_hash: str, rows: int, log: list[dict]
) -> None:
    """Write the card to `path`. `log` holds the trainer's loss entries, the last one last."""
    losses = [entry for entry in log if "loss" in entry]
    last = f"{losses[-1]['loss']:.4f} after {losses[-1]['step']} steps" if losses else "not logged"
    card = {"library_name": "peft", "tags": ["flarebench", "lora", "trl"], "base_model": base}
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in card.items())
    write_text(
        path,
        f"""---
{front}
---
# Adapter tuned by flarebench

| | |
| --- | --- |
| base | {base} at `{revision}` |
| training rows | {rows}, Parquet sha256 `{data_hash}` |
| last training loss | {last} |

Recipe:

```json
{json.dumps(recipe.model_dump(mode="json"), indent=2)}
```

Limits: for research; not a medical device. The licences of the base model and of the data apply to this adapter;
FLARE-MLLM-2D is to be treated as non-commercial.
""",
    )
