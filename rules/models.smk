# make the tiny model, or fetch a checkpoint at its revision


rule model_make:
    message:
        "Teaching the made model {wildcards.model} to see and to answer in format"
    input:
        code=code("workflow_scripts.models.tiny"),
    output:
        record=f"{R}/models/{{model}}.json",
    params:
        spec=lambda w: CONFIG.models[w.model].spec(),
    wildcard_constraints:
        model=named(CONFIG.models, MadeModel),
    threads: 2
    resources:
        mem_mb=3000,
        runtime=30,
    log:
        f"{R}/logs/model_make/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/model_make/{{model}}.tsv"
    conda:
        CONDA
    shell:
        "python -m workflow_scripts.models.tiny --spec {params.spec:q} --record {output.record:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule model_fetch:
    message:
        "Fetching {wildcards.model} at its revision"
    input:
        code=code("workflow_scripts.models.fetch"),
    output:
        record=f"{R}/models/{{model}}.json",
    params:
        spec=lambda w: CONFIG.models[w.model].spec(),
    wildcard_constraints:
        model=named(CONFIG.models, HubModel),
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    log:
        f"{R}/logs/model_fetch/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/model_fetch/{{model}}.tsv"
    conda:
        CONDA
    shell:
        "python -m workflow_scripts.models.fetch --spec {params.spec:q} --record {output.record:q} 2>&1 | tee {log:q}"
