"""The contract of `docs/reruns.md`: changes of a finished run by the line of its table, and what each makes again."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.workflow.runs import ROOT

CONFIG, RESULTS = "config/reruns.yaml", "results/reruns"
PAGE = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")


def cells(heading: str) -> dict[str, str]:
    """The rows of the page's table under `heading`, by their first cell."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| (.+?) \| (.+) \|$", table, re.M) if row[0] != "---"}


CONTRACT, GROUPS = cells("after a change of"), cells("name")


def globs(cell: str) -> list[str]:
    """The globs of a cell, groups spelled out."""
    patterns = []
    for glob, group, system in re.findall(r"`([^`]+)`|\*((?:answers of (\w+))|tables|judgements)\*", cell):
        of_group = GROUPS["*answers of SYSTEM*" if system else f"*{group}*"] if group else ""
        patterns += [glob] if glob else [g.replace("SYSTEM", system) for g in globs(of_group)]
    return patterns


SETTINGS: dict[str, Callable[[dict], object]] = {
    "a recipe value": lambda raw: raw["recipes"]["qlora"].update(learning_rate=1e-3),
    "the prompt of a tuned system": lambda raw: raw["systems"]["tuned"].update(prompt={"system": "Be brief."}),
    "the prompt of a base system": lambda raw: raw["systems"]["base"].update(prompt={"system": "Be brief."}),
    "another checkpoint of a model": lambda raw: raw["models"]["tiny"].update(checkpoint="checkpoints/other"),
    "the image size of a model": lambda raw: raw["models"]["tiny"].update(image={"size": 48}),
    "padded images of a model": lambda raw: raw["models"]["tiny"].update(image={"pad": True}),
    "native boxes of a model": lambda raw: raw["models"]["tiny"].update(boxes="native"),
    "products in 8 bits of a base system": lambda raw: (
        raw["models"]["tiny"].update(gpus=1),
        raw["systems"]["base"].update(fp8=True),
    ),
    "a group to show": lambda raw: raw.update(groups={"columns": ["sex"]}),
    "numbers of others": lambda raw: raw.update(
        published={"theirs": {"source": "a paper", "numbers": [{"task": "counting", "metric": "mae", "value": 1}]}}
    ),
    "a new judge of rubrics, `grader`, with human scores": lambda raw: raw["judges"].update(
        grader={"backend": "recorded", "metric": "rubric", "path": CONFIG, "validity": {"path": CONFIG}}
    ),
    "an entry of explanation maps": lambda raw: raw.update(saliency={"why": {"system": "base"}}),
    "a report caption": lambda raw: raw["report"].update(caption="A better one."),
    "a new system": lambda raw: raw["systems"].update(again={"model": "tiny"}),
    "a new system with shots, `few`": lambda raw: raw["systems"].update(
        few={"model": "tiny", "train": "train", "shots": {"count": 1, "by": "task"}}
    ),
    "a new system with samples, `many`": lambda raw: raw["systems"].update(
        many={"model": "tiny", "samples": {"draws": 3}}
    ),
    "a new sweep `grid`": lambda raw: raw.update(
        sweeps={"grid": {"model": "tiny", "recipe": "qlora", "train": "train", "vary": {"batch": [4, 16]}}}
    ),
    "a removed system": lambda raw: raw["systems"].pop("majority"),
    "the number of shards": lambda raw: raw["inference"].update(shards=4),
    "the folder of the store": lambda raw: raw.update(store="elsewhere"),
    "what `push` uploads": lambda raw: raw.update(publish={"tuned": {"repo": "lab/tuned"}}),
}


LINES = {
    "a line of the conversion": "workflow_scripts/data/conversion/rows.py",
    "a line of the feature step": "workflow_scripts/features/extract.py",
    "a line of the training": "workflow_scripts/train/rows.py",
    "a line of the inference": "workflow_scripts/infer/answer.py",
    "a line of the models' family": "workflow_scripts/models/families/gemma3.py",
    "a line of another family": "workflow_scripts/models/families/qwen3_vl.py",
    "a line of the readers": "workflow_scripts/score/outcomes.py",
    "a line of the parser of rubrics": "workflow_scripts/judges/rubrics/reply.py",
    "a line of the page": "workflow_scripts/report/page.py",
    "a line of the tables": "workflow_scripts/report/tables.py",
    "a line of the figures": "workflow_scripts/report/figures.py",
    "a line of the model card": "workflow_scripts/report/card.py",
    "a line of a task's `answers`": "workflow_scripts/tasks/classification/answers.py",
    "a line of a task's `reading`": "workflow_scripts/tasks/counting/reading.py",
    "a line of a task's `grammar`": "workflow_scripts/tasks/detection/grammar.py",
    "a line of a task's `metrics`": "workflow_scripts/tasks/multi_label/metrics.py",
    "a line of a task's `baselines`": "workflow_scripts/tasks/regression/baselines.py",
}


TOUCHED: dict[str, Callable[[Path], object]] = {
    "a touched source file": lambda done: [*(done / "workflow_scripts").rglob("*.py"), *(done / "rules").iterdir()],
    "a touched question file": lambda done: (done / "local").glob("*/*/*/*/*.json"),
    "a touched image": lambda done: (done / "local").rglob("*.png"),
    "a touched configuration": lambda done: [done / CONFIG],
    "a touched table of rows": lambda done: (done / RESULTS).rglob("rows.parquet"),
    "touched adapter weights": lambda done: (done / RESULTS / "systems").rglob("adapter_model.safetensors"),
}


ON_THE_COMMAND_LINE = {
    "a batch size": ("--set-resources", "infer_answer:batch=3"),
    "the number of threads": ("--set-threads", "infer_answer=2", "train_tune=1", "--cores", "4"),
}


CLONES = {
    "a fresh clone, results and `.snakemake` moved in": ["results", ".snakemake/metadata"],
    "a fresh clone, results alone moved in": ["results"],
}
