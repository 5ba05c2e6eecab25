# make the tiny model, or fetch a checkpoint at its revision


rule model_make:
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/model_make/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/model_make/{{model}}.tsv"
    wildcard_constraints:
        model=named(CONFIG.models, MadeModel),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.models.tiny"),
        spec=lambda w: CONFIG.models[w.model].spec(),
    message:
        "Teaching the made model {wildcards.model} to see and to answer in format [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.tiny --spec {params.spec:q} --record {output.record:q} 2>&1 | tee {log:q}"


rule model_fetch:
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/model_fetch/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/model_fetch/{{model}}.tsv"
    wildcard_constraints:
        model=named(CONFIG.models, HubModel),
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=code("workflow_scripts.models.fetch"),
        spec=lambda w: CONFIG.models[w.model].spec(),
    message:
        "Fetching {wildcards.model} at its revision [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.fetch --spec {params.spec:q} --record {output.record:q} 2>&1 | tee {log:q}"
