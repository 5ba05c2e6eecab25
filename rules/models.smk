# take the toy model that ships with the workflow, or fetch a checkpoint at its revision


rule model_shipped:
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/model_shipped/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/model_shipped/{{model}}.tsv"
    wildcard_constraints:
        model=named(CONFIG.models, SyntheticModel),
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.models.shipped"),
    message:
        "Taking the toy model {wildcards.model} that ships with the workflow [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.shipped --record {output.record:q} 2>&1 | tee {log:q}"


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
