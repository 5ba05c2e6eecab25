"""flarebench: from the gated FLARE-MLLM-2D data to a table of results.

Paths below the results folder follow one grammar:
    data/{dataset}/       manifest.json, rows, quarantine, images and conventions (.parquet), audit/
    splits/{split}/       rows.parquet, left_out.parquet, sft.jsonl, sft.parquet
    models/{model}.json   record of a model, its files beside it
    features/{model}/{split}/index.parquet
    systems/{system}/     adapter/, history.parquet, samples.parquet, card/README.md, router/; selection.json of a sweep;
                          on request merged/, published.json
    shots/{split}/{system}.parquet, the answered rows that it shows, and {system}.features.parquet
    predictions/{split}/{system}.parquet, its shards in {group}/, {system}.unmatched.parquet, {system}.json
    scores/{split}/       judgements/{judge}.{shard}.parquet, metrics, comparisons, experts;
                          {system}/ outcomes, report scores, router
    saliency/{split}/     {system}/{entry}/ maps, facts; values (.parquet)
    report/{split}/       table (.csv, .md, .tex, .provenance.json), results.json, methods.md, router.csv, groups (.csv,
                          .md, .tex), group_gaps.csv, saliency.csv, index.html with images/ and figures/
    holdouts/{holdout}/   table (.csv, .md, .tex): what was held out in turns, side by side
    container/{system}/   what an image for a challenge is built from, on request
    store/                cache keyed by content: features, adapters, answers, judgements, maps
    configuration.json    of the last run that was started
"""

import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

sys.path.insert(0, workflow.basedir)

from workflow_scripts.cli.environment import use_this_interpreter
from workflow_scripts.cli.needs import Gated, slower_without, unmet_needs
from workflow_scripts.core.files import write_json
from workflow_scripts.cli.resume import name_user, record_run

use_this_interpreter(workflow.basedir)
name_user()

# A given configuration replaces the default: merged into it, the default's systems would leak in. The default is that
# of the folder in which Snakemake runs, else the one beside this file.
if not workflow.overwrite_configfiles:
    DEFAULT = Path("config/config.yaml")

    configfile: str(DEFAULT if DEFAULT.exists() else Path(workflow.basedir) / DEFAULT)


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/checkpoints.smk"
include: "rules/systems.smk"
include: "rules/routers.smk"
include: "rules/judges.smk"
include: "rules/synthetic.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/features.smk"
include: "rules/train.smk"
include: "rules/infer.smk"
include: "rules/encoders.smk"
include: "rules/score.smk"
include: "rules/saliency.smk"
include: "rules/report.smk"
include: "rules/submit.smk"


# What needs the internet runs where Snakemake runs: the nodes of many clusters have none.
localrules:
    all,
    stability,
    challenge,
    container,
    merge,
    push,
    data_download,
    models_fetch,
    train_push,


rule all:
    """Tables, pages, audits and training files of every evaluated split."""
    default_target: True
    input:
        expand(f"{R}/report/{{split}}/index.html", split=CONFIG.evaluate),
        expand(f"{R}/report/{{split}}/table.md", split=CONFIG.evaluate),
        expand(f"{R}/report/{{split}}/figures", split=CONFIG.evaluate),
        expand(f"{R}/report/{{split}}/groups.md", split=CONFIG.evaluate if GROUPS else []),
        expand(f"{R}/report/{{split}}/saliency.csv", split=EXPLAINED),
        expand(f"{R}/systems/{{system}}/card/README.md", system=TUNED),
        [
            f"{R}/scores/{split}/{system}/findings.parquet"
            for split in CONFIG.evaluate
            for system in on_split(CONFIG.systems, split)
        ],
        expand(f"{R}/holdouts/{{holdout}}/table.md", holdout=CONFIG.holdouts),
        expand(f"{R}/splits/{{split}}/sft.jsonl", split=TRAINING_SPLITS),
        expand(f"{R}/data/{{dataset}}/audit/index.html", dataset=sorted({s.dataset for s in CONFIG.splits.values()})),


rule challenge:
    """Every system's predictions in the challenge's form."""
    input:
        [
            f"{R}/predictions/{split}/{system}.json"
            for split in CONFIG.submit or CONFIG.evaluate
            for system in on_split(CONFIG.systems, split)
            if system not in BASELINES + ORACLES
        ],


onstart:
    # Where Snakemake deploys environments of its own, this one says nothing about the jobs'.
    deployed = bool(workflow.deployment_settings.deployment_method)
    planned = {job.rule.name for job in workflow.dag.needrun_jobs() if not deployed}
    if unmet := unmet_needs(CONFIG, GATED, planned):
        raise WorkflowError(unmet)
    if slower := slower_without(CONFIG, planned):
        logger.warning(slower)
    write_json(Path(R) / "configuration.json", CONFIG.model_dump(mode="json"))
    record_run()
