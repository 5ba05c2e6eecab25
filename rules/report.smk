# tables for the terminal and the paper, and one offline page

from itertools import chain

# The first screen compares a router with its base, and not each of its experts, of which there may be many.
EXPERTS = {expert for route in ROUTED.values() if route.by != "oracle" for expert in route.systems}
TUNED_PAIRS = [(base, tuned) for tuned, base in TUNED_FROM.items() if base and tuned not in EXPERTS]
ROUTED_PAIRS = [(base_of_route(name), name) for name in ROUTED if name not in ORACLES and base_of_route(name)]


# Numbers of others, which stand beside this run's.
PUBLISHED = (
    canonical_json({k: v.model_dump(mode="json") for k, v in CONFIG.published.items()}) if CONFIG.published else []
)


rule report_tables:
    """Write the metrics of a split as CSV and JSON, the primary ones as Markdown and LaTeX, and a methods section."""
    input:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        comparisons=f"{R}/scores/{{split}}/comparisons.parquet",
    output:
        csv=report(
            f"{R}/report/{{split}}/table.csv",
            caption="captions/table_csv.rst",
            category="Tables",
            labels={"split": "{split}", "table": "every metric (CSV)"},
        ),
        markdown=f"{R}/report/{{split}}/table.md",
        latex=report(
            f"{R}/report/{{split}}/table.tex",
            caption="captions/table_tex.rst",
            category="Tables",
            labels={"split": "{split}", "table": "primary metrics (LaTeX)"},
        ),
        numbers=report(
            f"{R}/report/{{split}}/results.json",
            caption="captions/results_json.rst",
            category="Tables",
            labels={"split": "{split}", "table": "every number with its provenance (JSON)"},
        ),
        methods=report(
            f"{R}/report/{{split}}/methods.md",
            caption="captions/methods.rst",
            category="Methods",
            labels={"split": "{split}"},
        ),
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
        systems=of_split(CONFIG.systems),
        oracles=option("--oracles", ORACLES),
        # The methods section says how gaps between groups are tested.
        groups=CONFIG.groups.spec(),
        published=option("--published", PUBLISHED),
    message:
        "Writing the tables of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.tables --metrics {input.metrics:q} --comparisons {input.comparisons:q}"
        " --systems {params.systems:q} {params.oracles:q} {params.published:q} --csv {output.csv:q} --markdown {output.markdown:q} --latex {output.latex:q}"
        " --numbers {output.numbers:q} --methods {output.methods:q} --results {resources.results:q} 2>&1 | tee {log:q}"


rule report_groups:
    """Write the metrics of a split by group and the gaps between the values of each, as CSV, Markdown and LaTeX."""
    input:
        values=f"{R}/scores/{{split}}/groups.parquet",
        gaps=f"{R}/scores/{{split}}/group_gaps.parquet",
    output:
        csv=report(
            f"{R}/report/{{split}}/groups.csv",
            caption="captions/groups.rst",
            category="Tables",
            labels={"split": "{split}", "table": "primary metrics by group (CSV)"},
        ),
        gaps=report(
            f"{R}/report/{{split}}/group_gaps.csv",
            caption="captions/groups.rst",
            category="Tables",
            labels={"split": "{split}", "table": "gaps between groups (CSV)"},
        ),
        markdown=f"{R}/report/{{split}}/groups.md",
        latex=f"{R}/report/{{split}}/groups.tex",
    log:
        f"{R}/logs/report_groups/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_groups/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.groups"),
        systems=of_split(CONFIG.systems),
        groups=CONFIG.groups.spec(),
        scoring=CONFIG.scoring.spec(),
    message:
        "Writing the tables by group of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.groups --values {input.values:q} --gaps {input.gaps:q}"
        " --systems {params.systems:q} --groups {params.groups:q} --scoring {params.scoring:q} --csv {output.csv:q}"
        " --gaps-csv {output.gaps:q} --markdown-table {output.markdown:q} --latex-table {output.latex:q} 2>&1 | tee {log:q}"


rule report_holdouts:
    """Put the values of a held-out group side by side: each system on every hospital in turn."""
    input:
        metrics=lambda w: [
            f"{R}/scores/{CONFIG.holdouts[w.holdout].names(w.holdout, value)[0]}/metrics.parquet"
            for value in CONFIG.holdouts[w.holdout].values
        ],
    output:
        csv=report(
            f"{R}/holdouts/{{holdout}}/table.csv",
            caption="captions/holdouts.rst",
            category="Tables",
            labels={"split": "{holdout}", "table": "held out in turns (CSV)"},
        ),
        markdown=f"{R}/holdouts/{{holdout}}/table.md",
        latex=f"{R}/holdouts/{{holdout}}/table.tex",
    log:
        f"{R}/logs/report_holdouts/{{holdout}}.log",
    benchmark:
        f"{R}/benchmarks/report_holdouts/{{holdout}}.tsv"
    wildcard_constraints:
        holdout="|".join(CONFIG.holdouts) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.holdouts"),
        spec=lambda w: CONFIG.holdouts[w.holdout].spec(),
        systems=list(CONFIG.systems),
        scoring=CONFIG.scoring.spec(),
    message:
        "Writing the table of {wildcards.holdout}, side by side [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.holdouts --name {wildcards.holdout:q} --spec {params.spec:q}"
        " --metrics {input.metrics:q} --systems {params.systems:q} --scoring {params.scoring:q}"
        " --csv-table {output.csv:q} --markdown-table {output.markdown:q} --latex-table {output.latex:q} 2>&1 | tee {log:q}"


rule report_router:
    """Write who answers behind each router of a split, how often its classifier is right, and what that costs."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        routes=expand(f"{R}/predictions/{{{{split}}}}/{{system}}.routes.parquet", system=ROUTED),
        scores=expand(f"{R}/scores/{{{{split}}}}/{{system}}/router.parquet", system=CLASSIFIED),
        confusions=expand(f"{R}/scores/{{{{split}}}}/{{system}}/router_confusion.parquet", system=CLASSIFIED),
    output:
        table=report(
            f"{R}/report/{{split}}/router.csv",
            caption="captions/router.rst",
            category="Tables",
            labels={"split": "{split}", "table": "routers (CSV)"},
        ),
        shown=f"{R}/report/{{split}}/router.json",
    log:
        f"{R}/logs/report_router/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_router/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.router"),
        experts=["+".join(route.systems) for route in ROUTED.values()],
        scores=with_signature(lambda w, input: option("--scores", input.scores)),
        confusions=with_signature(lambda w, input: option("--confusions", input.confusions)),
        speeds=option("--speeds", [f"{R}/systems/{system}/router/speed.json" for system in CLASSIFIED]),
    message:
        "Writing the table of the routers on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.router --split {input.split:q} --routes {input.routes:q}"
        " --experts {params.experts:q} --metrics {input.metrics:q} {params.scores:q} {params.confusions:q}"
        " {params.speeds:q} --table {output.table:q} --shown {output.shown:q} 2>&1 | tee {log:q}"


rule report_card:
    """Write the model card of an adapter: what training knows of it, and its metrics on every evaluated split."""
    input:
        weights=lambda w: adapter_of(w.system),
        metrics=lambda w: expand(f"{R}/scores/{{split}}/metrics.parquet", split=splits_of(w.system)),
    output:
        card=report(
            f"{R}/systems/{{system}}/card/README.md",
            caption="captions/card.rst",
            category="Model cards",
            labels={"system": "{system}"},
        ),
    log:
        f"{R}/logs/report_card/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/report_card/{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda entry: entry.recipe),
    conda:
        CONDA
    resources:
        results=R,
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.card"),
        splits=lambda w: splits_of(w.system),
        bases=lambda w: option(
            "--bases",
            [
                name
                for name, entry in CONFIG.systems.items()
                if isinstance(entry, ModelSystem)
                and entry.recipe is None
                and entry.adapter is None
                and entry.model == CONFIG.systems[w.system].model
            ],
        ),
    message:
        "Writing the model card of {wildcards.system} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.card --system {wildcards.system:q} {params.bases:q}"
        " --splits {params.splits:q} --metrics {input.metrics:q} --results {resources.results:q} --out {output.card:q}"
        " 2>&1 | tee {log:q}"


rule report_figures:
    """Draw the figures of a split as SVG and PDF, and list them with their captions."""
    input:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        comparisons=f"{R}/scores/{{split}}/comparisons.parquet",
        agreement=f"{R}/scores/{{split}}/agreement.parquet",
        split=f"{R}/splits/{{split}}/rows.parquet",
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", CONFIG.systems),
        findings=each_system(f"{R}/scores/{{split}}/{{system}}/findings.parquet", CONFIG.systems),
        judgements=[
            f"{R}/scores/{{split}}/judgements/{judge}.{shard}.parquet"
            for judge in JUDGES
            for shard in shards_of_judge(judge)
        ],
        histories=each_system(f"{R}/systems/{{system}}/history.parquet", {**TUNED_FROM, **CONFIG.trained(), **ENCODERS}),
        samples=each_system(f"{R}/systems/{{system}}/samples.parquet", TUNED_FROM),
        calibration=expand(f"{R}/validity/{{judge}}/calibration.parquet", judge=VALIDATED),
        selections=expand(f"{R}/systems/{{sweep}}/selection.json", sweep=SELECTED),
        groups=[f"{R}/scores/{{split}}/groups.parquet"] if GROUPS else [],
    output:
        figures=report(
            directory(f"{R}/report/{{split}}/figures"),
            patterns=["{figure,[a-z0-9-]+}.{format,svg|pdf}"],
            caption="captions/figures.rst",
            category="Figures",
            labels={"split": "{split}", "figure": "{figure}", "format": "{format}"},
        ),
    log:
        f"{R}/logs/report_figures/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_figures/{{split}}.tsv"
    conda:
        CONDA
    resources:
        results=R,
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.figures"),
        systems=of_split(CONFIG.systems),
        baselines=of_split(BASELINES),
        pairs=joined_on_split(TUNED_PAIRS + ROUTED_PAIRS, lambda pairs: [":".join(pair) for pair in pairs]),
        histories=with_signature(lambda w, input: option("--histories", input.histories)),
        samples=with_signature(lambda w, input: option("--samples", input.samples)),
        sweeps=option("--sweeps", [f"{sweep}={'+'.join(settings)}" for sweep, settings in SETTINGS.items()]),
        selections=with_signature(lambda w, input: option("--selections", input.selections)),
        judgements=with_signature(lambda w, input: option("--judgements", input.judgements)),
        calibration=with_signature(lambda w, input: option("--calibration", input.calibration)),
        groups=with_signature(lambda w, input: option("--groups", input.groups)),
        columns=option("--columns", GROUPS),
    message:
        "Drawing the figures of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.figures --systems {params.systems:q} --baselines {params.baselines:q}"
        " --pairs {params.pairs:q} --split {input.split:q} --metrics {input.metrics:q}"
        " --comparisons {input.comparisons:q} --agreement {input.agreement:q} --outcomes {input.outcomes:q}"
        " --findings {input.findings:q} {params.judgements:q} {params.calibration:q} {params.histories:q}"
        " {params.samples:q} {params.sweeps:q} {params.selections:q} {params.groups:q} {params.columns:q}"
        " --results {resources.results:q} --out {output.figures:q} 2>&1 | tee {log:q}"


rule report_page:
    """Write the offline page of a split: verdict, tables, figures, and every case with every system's answer."""
    input:
        metrics=f"{R}/scores/{{split}}/metrics.parquet",
        facts=f"{R}/scores/{{split}}/facts.parquet",
        comparisons=f"{R}/scores/{{split}}/comparisons.parquet",
        agreement=f"{R}/scores/{{split}}/agreement.parquet",
        split=f"{R}/splits/{{split}}/rows.parquet",
        outcomes=each_system(f"{R}/scores/{{split}}/{{system}}/outcomes.parquet", CONFIG.systems),
        predictions=each_system(f"{R}/predictions/{{split}}/{{system}}.parquet", CONFIG.systems),
        findings=each_system(f"{R}/scores/{{split}}/{{system}}/findings.parquet", CONFIG.systems),
        report_scores=each_system(
            f"{R}/scores/{{split}}/{{system}}/{{table}}.parquet", CONFIG.systems, table=REPORT_SCORES
        ),
        training=trained_on(f"{R}/splits/{{trained}}/rows.parquet"),
        left_out=trained_on(f"{R}/splits/{{trained}}/left_out.parquet"),
        quarantine=lambda w: f"{R}/data/{CONFIG.splits[w.split].dataset}/quarantine.parquet",
        audit=lambda w: f"{R}/data/{CONFIG.splits[w.split].dataset}/audit/findings.parquet",
        figures=f"{R}/report/{{split}}/figures",
        router=[f"{R}/report/{{split}}/router.json"] if ROUTED else [],
        groups=[f"{R}/scores/{{split}}/{table}.parquet" for table in ("groups", "group_gaps") if GROUPS],
        validity=expand(f"{R}/validity/{{judge}}/measures.parquet", judge=VALIDATED),
        calibration=expand(f"{R}/validity/{{judge}}/calibration.parquet", judge=VALIDATED),
        saliency=lambda w: f"{R}/saliency/{w.split}/values.parquet" if w.split in EXPLAINED else [],
        saliency_maps=maps_on_split("maps"),
        saliency_facts=maps_on_split("facts"),
    output:
        page=report(
            f"{R}/report/{{split}}/index.html",
            caption="captions/page.rst",
            category="Pages",
            labels={"split": "{split}"},
        ),
        images=directory(f"{R}/report/{{split}}/images"),
    log:
        f"{R}/logs/report_page/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/report_page/{{split}}.tsv"
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.report.page"),
        report=CONFIG.report.spec(),
        systems=of_split(CONFIG.systems),
        baselines=joined_on_split(
            [(name, name) for name in BASELINES], lambda own: option("--baselines", [name for name, _ in own])
        ),
        oracles=option("--oracles", ORACLES),
        router=with_signature(lambda w, input: option("--router", input.router)),
        judges=option("--rule-based-judges", RULE_BASED_JUDGES),
        tuned=joined_on_split(TUNED_PAIRS, lambda pairs: option("--tuned", chain(*pairs))),
        routed=option("--routed", [name for pair in ROUTED_PAIRS for name in pair]),
        trained_on=joined_on_split(
            [(tuned, CONFIG.systems[tuned].train) for tuned in TUNED_FROM],
            lambda pairs: option("--trained-on", chain(*pairs)),
        ),
        training=with_signature(lambda w, input: option("--training", input.training)),
        left_out=with_signature(lambda w, input: option("--left-out", input.left_out)),
        group_tables=with_signature(lambda w, input: option("--group-tables", input.groups)),
        validity=with_signature(
            lambda w, input: [*option("--validity", input.validity), *option("--calibration", input.calibration)]
        ),
        groups=option("--groups", CONFIG.groups.spec() if GROUPS else []),
        published=option("--published", PUBLISHED),
        scoring=option("--scoring", CONFIG.scoring.spec() if GROUPS else []),
        saliency=with_signature(
            lambda w, input: [
                *option("--saliency", input.saliency),
                *option("--saliency-maps", input.saliency_maps),
                *option("--saliency-facts", input.saliency_facts),
            ]
        ),
        root=root_of_split(),
    message:
        "Writing the page of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.report.page --report {params.report:q} --systems {params.systems:q}"
        " {params.baselines:q} {params.oracles:q} {params.router:q} {params.judges:q} {params.tuned:q} {params.routed:q} {params.trained_on:q} {params.group_tables:q} {params.groups:q} {params.scoring:q} {params.published:q} {params.validity:q} {params.saliency:q} --metrics {input.metrics:q}"
        " --facts {input.facts:q} --comparisons {input.comparisons:q} --agreement {input.agreement:q}"
        " --split {input.split:q} --root {params.root:q} --outcomes {input.outcomes:q}"
        " --predictions {input.predictions:q} --findings {input.findings:q} --report-scores {input.report_scores:q}"
        " {params.training:q} {params.left_out:q} --quarantine {input.quarantine:q} --audit {input.audit:q} --figures {input.figures:q}"
        " --workers {threads} --out {output.page:q} --images {output.images:q} 2>&1 | tee {log:q}"
