"""A run of the whole workflow over given pairs of reports, judged by a real model through both paths."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from tests.data.roots import png, row, write_subset
from tests.real.chat_process import QUIET_THREADS, ServedModel
from tests.workflow.runs import checkout, snakemake
from workflow_scripts.core.rows import JudgedPair, MetricValue
from workflow_scripts.core.tables import read_rows

TOKENS = 128
"""Most new tokens of a reply."""

METRICS = ("crimson", "green")
SUBSET = "chest"
QUESTIONS = "chest_questions_val.json"


def judges(checkpoint: Path, served: ServedModel | None, batch: int, **changes: object) -> dict[str, dict]:
    """A judge for each metric, loaded in its job and, where there is a server, behind it; on a GPU if there is one."""
    shared = {"retries": 0, "max_new_tokens": TOKENS, "freeze_references": False} | changes
    local = {"backend": "transformers", "checkpoint": str(checkpoint), "batch": batch}
    local["gpus"] = int(torch.cuda.is_available())
    sections = {f"{metric}-here": {**local, "metric": metric, **shared} for metric in METRICS}
    if served is not None:
        there = {"backend": "openai", "url": served.url, "model": served.model, "revision": checkpoint.name}
        there |= {"workers": served.at_once, "timeout": 1800}
        sections |= {f"{metric}-there": {**there, "metric": metric, **shared} for metric in METRICS}
    return sections


@dataclass(frozen=True)
class ReportRun:
    """A checkout of the workflow whose one system answers with the hypotheses of given pairs."""

    folder: Path

    @classmethod
    def prepared(cls, folder: Path, pairs: list[tuple[str, str]]) -> "ReportRun":
        """Write the dataset with a row a pair, and the predictions of one system."""
        checkout(folder)
        images = {f"imagesVal/{place}.png": png(place) for place in range(len(pairs))}
        question = "Write the report of this chest X-ray."
        rows = [
            row(name, question, reference, "Report_Generation")
            for name, (reference, _) in zip(images, pairs, strict=True)
        ]
        write_subset(folder / "reports", rows, images, name=SUBSET, folder="validation-public", file=QUESTIONS)
        uid = f"validation-public/Xray/{SUBSET}/{QUESTIONS.removesuffix('.json')}"
        with (folder / "theirs.jsonl").open("w", encoding="utf-8") as stream:
            for place, (_, hypothesis) in enumerate(pairs):
                print(json.dumps({"uid": f"{uid}/{place}", "prediction": hypothesis}), file=stream)
        return cls(folder)

    def configured(self, name: str, sections: dict[str, dict]) -> tuple[str, str]:
        """Write a configuration with these judges; the flag and file that name it."""
        raw = {
            "results": "results",
            "datasets": {"reports": {"source": "local", "path": str(self.folder / "reports")}},
            "splits": {"validation": {"dataset": "reports", "folder": "validation-public"}},
            "models": {},
            "systems": {"theirs": {"predictions": "theirs.jsonl"}},
            "judges": sections,
            "evaluate": ["validation"],
            "scoring": {"resamples": 100},
            "report": {"cases": 1},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(raw, sort_keys=False))
        return ("--configfile", str(path))

    def run(self, name: str, sections: dict[str, dict], code: int = 0) -> str:
        """Run the workflow with these judges; what it printed."""
        return snakemake(self.folder, *self.configured(name, sections), code=code, env=os.environ | QUIET_THREADS)

    def judged(self, judge: str) -> list[JudgedPair]:
        """The judge's table, all shards."""
        files = sorted((self.folder / "results/scores/validation/judgements").glob(f"{judge}.*.parquet"))
        return [pair for file in files for pair in read_rows(file, JudgedPair)]

    def metric_values(self, judge: str, metric: str) -> list[MetricValue]:
        """The lines of a judge's metric over all references."""
        values = read_rows(self.folder / "results/scores/validation/metrics.parquet", MetricValue)
        return [v for v in values if (v.judge, v.metric, v.stratum) == (judge, metric, None)]

    def counts(self, judge: str) -> Counter[str]:
        """Judgements by status."""
        return Counter(pair.status for pair in self.judged(judge))
