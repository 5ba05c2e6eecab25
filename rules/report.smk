# tables for the terminal and the paper, and one offline page


rule report_tables:
    """Write the metrics of a split as CSV, the primary ones as Markdown, and what they stand on."""
    input:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
    output:
        csv=report(f"{R}/report/{{split}}/table.csv", category="Tables", labels={"split": "{split}"}),
        markdown=f"{R}/report/{{split}}/table.md",
    log:
        f"{R}/logs/report_tables/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_tables/{{split}}.tsv"
    conda:
        CONDA
    resources:
        results=R,
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.tables"),
        systems=list(CONFIG.systems),
    message:
        "Writing the tables of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.tables --metrics {input.metrics:q} --systems {params.systems:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --results {resources.results:q} 2>&1 | tee {log:q}"


rule report_page:
    """Write the offline page of a split: table, comparisons, and cases with every system's answer."""
    input:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        facts=f"{R}/scores/{{split}}/facts.parquet",
        comparisons=f"{R}/scores/{{split}}/comparisons.parquet",
        agreement=f"{R}/scores/{{split}}/agreement.parquet",
        split=f"{R}/splits/{{split}}/rows.parquet",
        outcomes=expand(f"{R}/scores/{{{{split}}}}/{{system}}/outcomes.parquet", system=CONFIG.systems),
        predictions=expand(f"{R}/predictions/{{{{split}}}}/{{system}}.parquet", system=CONFIG.systems),
        quarantine=lambda w: f"{R}/data/{CONFIG.splits[w.split].dataset}/quarantine.parquet",
    output:
        page=report(f"{R}/report/{{split}}/index.html", category="Pages", labels={"split": "{split}"}),
    log:
        f"{R}/logs/report_page/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_page/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.page"),
        report=CONFIG.report.spec(),
        systems=list(CONFIG.systems),
        baselines=BASELINES,
        root=root_of_split(),
    message:
        "Writing the page of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.page --report {params.report:q} --systems {params.systems:q}"
        " --baselines {params.baselines:q} --metrics {input.metrics:q} --facts {input.facts:q}"
        " --comparisons {input.comparisons:q}"
        " --agreement {input.agreement:q} --split {input.split:q} --root {params.root:q}"
        " --outcomes {input.outcomes:q} --predictions {input.predictions:q}"
        " --quarantine {input.quarantine:q} --out {output.page:q} 2>&1 | tee {log:q}"
