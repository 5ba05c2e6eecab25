# explanation maps: what in the images speaks for a system's answers, and how faithful the maps are


rule saliency_map:
    """Explain a system's answers to some rows of a split, and measure how faithful the maps are."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        record=lambda w: f"{R}/models/{model_of(w.system)}.json",
        adapter=lambda w: adapter_of(w.system),
    output:
        maps=f"{R}/saliency/{{split}}/{{system}}/{{saliency}}/maps.parquet",
        facts=f"{R}/saliency/{{split}}/{{system}}/{{saliency}}/facts.parquet",
    log:
        f"{R}/logs/saliency_map/{{split}}.{{system}}.{{saliency}}.log",
    benchmark:
        f"{R}/benchmarks/saliency_map/{{split}}.{{system}}.{{saliency}}.tsv"
    wildcard_constraints:
        system="|".join(LOADED) or "(?!)",
        saliency="|".join(CONFIG.saliency) or "(?!)",
    conda:
        CONDA
    threads: per_model(lambda gpus: 4 if gpus else 1)
    resources:
        gpu=per_model(one),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 2500)),
        runtime=growing(per_model(lambda gpus: 240 if gpus else 60)),
        batch=16,
        tmpdir=TMPDIR,
        store=f"{STORE}/saliency",
    params:
        code=code_by_family("workflow_scripts.saliency.map"),
        root=root_of_split(),
        spec=lambda w: CONFIG.saliency[w.saliency].spec(),
        adapter=lambda w: option("--adapter", member(w.system)["adapter"] or []),
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        constrained=lambda w: option("--constrained", str(CONFIG.systems[w.system].constrained)),
        boxes=lambda w: boxes_option(CONFIG.systems[w.system].model),
        max_new_tokens=MAX_NEW_TOKENS,
    message:
        "Explaining the answers of {wildcards.system} to {wildcards.split}, {wildcards.saliency} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.saliency.map"
        " --split {input.split:q} --predictions {input.predictions:q} --model {input.record:q} --root {params.root:q}"
        " --spec {params.spec:q} {params.adapter:q} --prompt {params.prompt:q} {params.constrained:q} {params.boxes:q}"
        " --max-new-tokens {params.max_new_tokens} --batch {resources.batch} --threads {threads}"
        " --store {resources.store:q} --maps {output.maps:q} --facts {output.facts:q} 2>&1 | tee {log:q}"


rule saliency_table:
    """Summarise what explanation maps measure on a split, with intervals."""
    input:
        facts=maps_on_split("facts"),
    output:
        csv=report(
            f"{R}/report/{{split}}/saliency.csv",
            caption="captions/saliency.rst",
            category="Tables",
            labels={"split": "{split}", "table": "explanation maps (CSV)"},
        ),
        table=f"{R}/saliency/{{split}}/values.parquet",
    log:
        f"{R}/logs/saliency_table/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/saliency_table/{{split}}.tsv"
    wildcard_constraints:
        split="|".join(EXPLAINED) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.saliency.table"),
        names=lambda w: EXPLAINED[w.split],
    message:
        "Writing the table of explanation maps of {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.saliency.table --names {params.names:q} --facts {input.facts:q}"
        " --table {output.table:q} --csv {output.csv:q} 2>&1 | tee {log:q}"
