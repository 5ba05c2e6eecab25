"""flarebench: from the gated FLARE-MLLM-2D data to a table of results.

Paths below the results folder follow one grammar:
    data/{dataset}/       manifest.json, rows.parquet, quarantine.parquet, conventions.parquet, audit/
    splits/{split}/       rows.parquet, left_out.parquet, sft.jsonl
    models/{model}.json   record of a model, its files beside it
    features/{model}/{split}/index.parquet
    systems/{system}/     adapter/, history.parquet
    predictions/{split}/{system}.parquet, its shards in {group}/, {system}.unmatched.parquet, {system}.json
    scores/{split}/…      outcomes, judgements, report scores, metrics
    report/{split}/       table.csv, table.md, table.provenance.json, index.html
    store/                cache keyed by content: features, adapters, answers, judgements
    configuration.json    of the last run that was started
"""

import os
import re
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

sys.path.insert(0, workflow.basedir)

from workflow_scripts.cli.environment import use_this_interpreter
from workflow_scripts.core.files import write_json
from workflow_scripts.cli.resume import name_user, record_run

use_this_interpreter(workflow.basedir)
name_user()

# A given configuration replaces the default: merged into it, the default's systems would leak in.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/synthetic.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/features.smk"
include: "rules/train.smk"
include: "rules/infer.smk"
include: "rules/score.smk"
include: "rules/report.smk"


# What needs the internet runs where Snakemake runs: the nodes of many clusters have none.
localrules:
    all,
    stability,
    challenge,
    data_download,
    models_fetch,


rule all:
    """Tables, pages, audits and training files of every evaluated split."""
    default_target: True
    input:
        expand(f"{R}/report/{{split}}/index.html", split=CONFIG.evaluate),
        expand(f"{R}/report/{{split}}/table.md", split=CONFIG.evaluate),
        expand(f"{R}/scores/{{split}}/{{system}}/findings.parquet", split=CONFIG.evaluate, system=CONFIG.systems),
        expand(f"{R}/splits/{{split}}/sft.jsonl", split=TRAINING_SPLITS),
        expand(f"{R}/data/{{dataset}}/audit/index.html", dataset=sorted({s.dataset for s in CONFIG.splits.values()})),


rule challenge:
    """Every system's predictions in the challenge's form."""
    input:
        expand(
            f"{R}/predictions/{{split}}/{{system}}.json",
            split=CONFIG.submit or CONFIG.evaluate,
            system=[name for name, system in CONFIG.systems.items() if not isinstance(system, BaselineSystem)],
        ),


onstart:
    missing = [entry for entry in GATED if not Path(entry.record).exists() and not os.environ.get("HF_TOKEN")]
    if missing:
        raise WorkflowError(
            f"{missing[0].repo} is gated and HF_TOKEN is not set: accept its terms at "
            f"{missing[0].page}, then export HF_TOKEN"
        )
    write_json(Path(R) / "configuration.json", CONFIG.model_dump(mode="json"))
    record_run()
