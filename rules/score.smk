# read the answers, judge the reports, and compute every metric with its interval

JUDGES = sorted(CONFIG.judges)
REPORT_SCORES = ["report_scores", "bertscore"] if CONFIG.scoring.bertscore else ["report_scores"]
BASELINES = [name for name, system in CONFIG.systems.items() if isinstance(system, BaselineSystem)]


rule score_outcomes:
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
        " --system {wildcards.system} --out {output.outcomes:q} 2>&1 | tee {log:q}"


rule score_judge:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    output:
        judgements=f"{R}/scores/{{split}}/{{system}}/{{judge}}.judgements.parquet",
    log:
        f"{R}/logs/score_judge/{{split}}.{{system}}.{{judge}}.log",
    benchmark:
        f"{R}/benchmarks/score_judge/{{split}}.{{system}}.{{judge}}.tsv"
    conda:
        CONDA
    resources:
        gpu=lambda w: gpus_of_judge(w.judge),
        mem_mb=growing(lambda w: 48000 if gpus_of_judge(w.judge) else 1500),
        runtime=growing(lambda w: 480 if gpus_of_judge(w.judge) else 60),
        store=f"{STORE}/judgements",
    params:
        code=code("workflow_scripts.score.judge"),
        spec=lambda w: CONFIG.judges[w.judge].spec(),
    message:
        "Judging the reports of {wildcards.system} on {wildcards.split} with {wildcards.judge} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.score.judge"
        " --split {input.split:q} --predictions {input.predictions:q}"
        " --judge {wildcards.judge} --spec {params.spec:q} --store {resources.store:q}"
        " --out {output.judgements:q} 2>&1 | tee {log:q}"


rule score_reports:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        judgements=expand(f"{R}/scores/{{{{split}}}}/{{{{system}}}}/{{judge}}.judgements.parquet", judge=JUDGES),
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
        nltk_data=["--nltk-data", CONFIG.scoring.nltk_data] if CONFIG.scoring.nltk_data else [],
    message:
        "Scoring the reports of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.reports --split {input.split:q} --predictions {input.predictions:q}"
        " --judgements {input.judgements:q} {params.nltk_data:q} --out {output.scores:q}"
        " --findings {output.findings:q} 2>&1 | tee {log:q}"


rule score_bertscore:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
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
        " --system {wildcards.system} --spec {params.spec:q} --batch {resources.batch}"
        " --out {output.scores:q} 2>&1 | tee {log:q}"


rule score_metrics:
    input:
        outcomes=expand(f"{R}/scores/{{{{split}}}}/{{system}}/outcomes.parquet", system=CONFIG.systems),
        scores=expand(
            f"{R}/scores/{{{{split}}}}/{{system}}/{{kind}}.parquet", system=CONFIG.systems, kind=REPORT_SCORES
        ),
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
        spec=CONFIG.scoring.spec(),
    message:
        "Computing every metric on {wildcards.split}, with intervals [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.metrics --outcomes {input.outcomes:q} --report-scores {input.scores:q}"
        " --spec {params.spec:q} --out {output.metrics:q} --facts {output.facts:q} 2>&1 | tee {log:q}"


rule score_comparisons:
    input:
        outcomes=expand(f"{R}/scores/{{{{split}}}}/{{system}}/outcomes.parquet", system=CONFIG.systems),
        scores=expand(
            f"{R}/scores/{{{{split}}}}/{{system}}/{{kind}}.parquet", system=CONFIG.systems, kind=REPORT_SCORES
        ),
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
        spec=CONFIG.scoring.spec(),
        baselines=BASELINES,
    message:
        "Comparing the systems on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.score.comparisons --outcomes {input.outcomes:q} --report-scores {input.scores:q}"
        " --baselines {params.baselines} --spec {params.spec:q} --out {output.comparisons:q} --agreement {output.agreement:q} 2>&1 | tee {log:q}"
