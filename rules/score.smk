# read the answers, judge the reports, and compute every metric with its interval


JUDGES = sorted(CONFIG.judges)
REPORT_SCORES = ["report_scores", "bertscore"] if CONFIG.scoring.bertscore else ["report_scores"]
BASELINES = [name for name, system in CONFIG.systems.items() if isinstance(system, BaselineSystem)]
# An oracle has read the scores: a test of whether it is better would say nothing.
COMPARED = [name for name in CONFIG.systems if name not in ORACLES]
# Judges of rubrics whose agreement with human scores is known.
VALIDATED = [name for name, judge in CONFIG.judges.items() if getattr(judge, "validity", None) is not None]
RULE_BASED_JUDGES = [name for name, judge in CONFIG.judges.items() if judge.backend == "rule_based"]


rule score_outcomes:
    """Read every answer of a system and say what became of it."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    output:
        outcomes=f"{R}/scores/{{split}}/{{system}}/outcomes.parquet",
    log:
        f"{R}/logs/score_outcomes/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/score_outcomes/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("workflow_scripts.score.outcomes"),
    message:
        "Reading the answers of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.outcomes --split {input.split:q} --predictions {input.predictions:q}"
        " --system {wildcards.system:q} --out {output.outcomes:q} 2>&1 | tee {log:q}"


rule score_judge:
    """Judge the reports of all systems of a split: a pair with a valid judgement is never asked for again."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=each_system(f"{R}/predictions/{{split}}/{{system}}.parquet", NOT_ROUTED),
        model=lambda w: model_of_judge(w.judge),
        replies=lambda w: replies_of_judge(w.judge),
    output:
        judgements=f"{R}/scores/{{split}}/judgements/{{judge}}.{{shard}}.parquet",
    log:
        f"{R}/logs/score_judge/{{split}}.{{judge}}.{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/score_judge/{{split}}.{{judge}}.{{shard}}.tsv"
    conda:
        CONDA
    threads: lambda w: 2 if model_of_judge(w.judge) else 1
    resources:
        gpu=lambda w: gpus_of_judge(w.judge),
        mem_mb=growing(lambda w: 48000 if gpus_of_judge(w.judge) else 1500),
        runtime=growing(lambda w: 480 if gpus_of_judge(w.judge) else 60),
        store=f"{STORE}/judgements",
        pairs=lambda w: pairs_at_most(w.split, w.judge),
    params:
        code=code("workflow_scripts.score.judge"),
        spec=lambda w: CONFIG.judges[w.judge].judging_spec(),
        prompt=lambda w: prompt_of_judge(w.judge),
        model=with_signature(lambda w, input: option("--model", input.model)),
        content=lambda w: option(
            "--content",
            [
                state_of_file(file, f"{R}/scores/{w.split}/judgements/{w.judge}.{w.shard}.seen.json")
                for file in replies_of_judge(w.judge)
            ],
        ),
        seen=f"{R}/scores/{{split}}/judgements/{{judge}}.{{shard}}.seen.json",
    message:
        "Judging the reports on {wildcards.split} with {wildcards.judge}, {wildcards.shard}: {resources.pairs} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.score.judge"
        " --split {input.split:q} --predictions {input.predictions:q}"
        " --name {wildcards.judge:q} --spec {params.spec:q} {params.model:q}"
        " {params.content:q} --seen {params.seen:q} --shard {wildcards.shard:q} --store {resources.store:q}"
        " --out {output.judgements:q} 2>&1 | tee {log:q}"


rule score_validity:
    """Compare a judge of rubrics with recorded human scores."""
    input:
        human=lambda w: human_scores_of_judge(w.judge),
        replies=lambda w: replies_of_judge(w.judge),
        model=lambda w: model_of_judge(w.judge),
    output:
        measures=f"{R}/validity/{{judge}}/measures.parquet",
        scores=f"{R}/validity/{{judge}}/scores.parquet",
        calibration=f"{R}/validity/{{judge}}/calibration.parquet",
        table=report(
            f"{R}/validity/{{judge}}/table.csv",
            caption="captions/validity.rst",
            category="Tables",
            labels={"judge": "{judge}", "table": "agreement with human scores (CSV)"},
        ),
    log:
        f"{R}/logs/score_validity/{{judge}}.log",
    benchmark:
        f"{R}/benchmarks/score_validity/{{judge}}.tsv"
    wildcard_constraints:
        judge="|".join(VALIDATED) or "(?!)",
    conda:
        CONDA
    threads: lambda w: 2 if model_of_judge(w.judge) else 1
    resources:
        gpu=lambda w: gpus_of_judge(w.judge),
        mem_mb=growing(lambda w: 48000 if gpus_of_judge(w.judge) else 1500),
        runtime=growing(lambda w: 240 if gpus_of_judge(w.judge) else 60),
        store=f"{STORE}/judgements",
    params:
        code=code("workflow_scripts.score.validity"),
        spec=lambda w: CONFIG.judges[w.judge].spec(),
        scoring=CONFIG.scoring.spec(),
        prompt=lambda w: prompt_of_judge(w.judge),
        model=with_signature(lambda w, input: option("--model", input.model)),
        content=lambda w: states_of_files(
            [*human_scores_of_judge(w.judge), *replies_of_judge(w.judge)],
            lambda place: f"{R}/validity/{w.judge}/{['seen', 'seen.replies'][place]}.json",
        ),
        seen=f"{R}/validity/{{judge}}/seen.json",
    message:
        "Comparing {wildcards.judge} with human scores [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.score.validity"
        " --name {wildcards.judge:q} --spec {params.spec:q} --scoring {params.scoring:q} {params.model:q}"
        " --content {params.content:q} --seen {params.seen:q} --store {resources.store:q} --out {output.measures:q}"
        " --scores {output.scores:q} --calibration {output.calibration:q} --table {output.table:q} 2>&1 | tee {log:q}"


rule score_reports:
    """Score the reports and the graded answers of a system by its judgements and by text metrics."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        judgements=[
            f"{R}/scores/{{split}}/judgements/{judge}.{shard}.parquet"
            for judge in JUDGES
            for shard in shards_of_judge(judge)
        ],
        validity=expand(f"{R}/validity/{{judge}}/measures.parquet", judge=VALIDATED),
    output:
        scores=f"{R}/scores/{{split}}/{{system}}/report_scores.parquet",
        findings=f"{R}/scores/{{split}}/{{system}}/findings.parquet",
    log:
        f"{R}/logs/score_reports/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/score_reports/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("workflow_scripts.score.reports"),
        validity=with_signature(lambda w, input: option("--validity", input.validity)),
        nltk_data=option("--nltk-data", CONFIG.scoring.nltk_data or []),
    message:
        "Scoring the reports of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.reports --split {input.split:q} --predictions {input.predictions:q}"
        " --judgements {input.judgements:q} {params.validity:q} {params.nltk_data:q} --out {output.scores:q}"
        " --findings {output.findings:q} 2>&1 | tee {log:q}"


rule score_bertscore:
    """Score the reports of a system by BERTScore."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        model=f"{R}/models/encoders/bertscore.json",
    output:
        scores=f"{R}/scores/{{split}}/{{system}}/bertscore.parquet",
    log:
        f"{R}/logs/score_bertscore/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/score_bertscore/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        gpu=CONFIG.scoring.bertscore.gpus if CONFIG.scoring.bertscore else 0,
        mem_mb=growing(6000),
        runtime=growing(60),
        batch=64,
    params:
        code=code("workflow_scripts.score.bertscore"),
        spec=CONFIG.scoring.bertscore.spec() if CONFIG.scoring.bertscore else "",
    message:
        "Embedding the reports of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.score.bertscore"
        " --split {input.split:q} --predictions {input.predictions:q}"
        " --system {wildcards.system:q} --spec {params.spec:q} --model {input.model:q} --batch {resources.batch}"
        " --out {output.scores:q} 2>&1 | tee {log:q}"


rule score_metrics:
    """Compute every metric of all systems on a split, with intervals."""
    input:
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", CONFIG.systems),
        scores=each_system(f"{R}/scores/{{split}}/{{system}}/{{kind}}.parquet", CONFIG.systems, kind=REPORT_SCORES),
    output:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        facts=f"{R}/scores/{{split}}/facts.parquet",
    log:
        f"{R}/logs/score_metrics/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/score_metrics/{{split}}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(2500),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.score.metrics"),
        rule_based=RULE_BASED_JUDGES,
        scoring=CONFIG.scoring.spec(),
    message:
        "Computing every metric on {wildcards.split}, with intervals [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.metrics --outcomes {input.outcomes:q} --report-scores {input.scores:q}"
        " --rule-based-judges {params.rule_based:q} --scoring {params.scoring:q}"
        " --out {output.metrics:q} --facts {output.facts:q} 2>&1 | tee {log:q}"


rule score_comparisons:
    """Compare all systems of a split in pairs, and the report metrics with each other."""
    input:
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", COMPARED),
        scores=each_system(f"{R}/scores/{{split}}/{{system}}/{{kind}}.parquet", COMPARED, kind=REPORT_SCORES),
    output:
        comparisons=f"{R}/scores/{{split}}/comparisons.parquet",
        agreement=f"{R}/scores/{{split}}/agreement.parquet",
    log:
        f"{R}/logs/score_comparisons/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/score_comparisons/{{split}}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(2500),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.score.comparisons"),
        rule_based=RULE_BASED_JUDGES,
        scoring=CONFIG.scoring.spec(),
        baselines=BASELINES,
    message:
        "Comparing the systems on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.comparisons --outcomes {input.outcomes:q} --report-scores {input.scores:q}"
        " --rule-based-judges {params.rule_based:q} --baselines {params.baselines:q} --scoring {params.scoring:q}"
        " --out {output.comparisons:q} --agreement {output.agreement:q} 2>&1 | tee {log:q}"


rule score_groups:
    """Compute the primary metrics of all systems on a split by group, and the gaps between the values of each."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", CONFIG.systems),
        scores=each_system(f"{R}/scores/{{split}}/{{system}}/{{kind}}.parquet", CONFIG.systems, kind=REPORT_SCORES),
    output:
        groups=f"{R}/scores/{{split}}/groups.parquet",
        gaps=f"{R}/scores/{{split}}/group_gaps.parquet",
    log:
        f"{R}/logs/score_groups/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/score_groups/{{split}}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(2500),
        runtime=growing(60),
    params:
        code=code("workflow_scripts.score.groups"),
        rule_based=RULE_BASED_JUDGES,
        baselines=BASELINES,
        groups=CONFIG.groups.spec(),
        scoring=CONFIG.scoring.spec(),
    message:
        "Computing the metrics of {wildcards.split} by group, and their gaps [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.groups --split {input.split:q} --outcomes {input.outcomes:q}"
        " --report-scores {input.scores:q} --rule-based-judges {params.rule_based:q} --baselines {params.baselines:q}"
        " --groups {params.groups:q} --scoring {params.scoring:q} --out {output.groups:q} --gaps {output.gaps:q}"
        " 2>&1 | tee {log:q}"


rule score_experts:
    """Score each row of each system that answers itself: what an oracle chooses by."""
    input:
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", NOT_ROUTED),
        scores=each_system(f"{R}/scores/{{split}}/{{system}}/report_scores.parquet", NOT_ROUTED),
    output:
        facts=f"{R}/scores/{{split}}/experts.parquet",
    log:
        f"{R}/logs/score_experts/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/score_experts/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2500),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.score.experts"),
        rule_based=RULE_BASED_JUDGES,
    message:
        "Scoring the rows of the experts on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.experts --outcomes {input.outcomes:q} --report-scores {input.scores:q}"
        " --rule-based-judges {params.rule_based:q} --out {output.facts:q} 2>&1 | tee {log:q}"


rule score_router:
    """Count how often a router's classifiers read the right class off a question."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        routes=f"{R}/predictions/{{split}}/{{system}}.routes.parquet",
        router=f"{R}/systems/{{system}}/router/router.json",
    output:
        scores=f"{R}/scores/{{split}}/{{system}}/router.parquet",
        confusion=f"{R}/scores/{{split}}/{{system}}/router_confusion.parquet",
    log:
        f"{R}/logs/score_router/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/score_router/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system="|".join(CLASSIFIED) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        code=code("workflow_scripts.score.router"),
        folder=lambda w, input: str(Path(input.router).parent),
        threshold=lambda w: str(ROUTED[w.system].threshold),
        scoring=CONFIG.scoring.spec(),
    message:
        "Scoring the router of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.router --split {input.split:q} --routes {input.routes:q}"
        " --router {params.folder:q} --threshold {params.threshold:q} --scoring {params.scoring:q}"
        " --out {output.scores:q} --confusion {output.confusion:q} 2>&1 | tee {log:q}"
