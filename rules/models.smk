# fetch a checkpoint at its revision, or take a local one as it is

from workflow_scripts.models.record import checkpoint_identity


rule models_fetch:
    """Fetch a checkpoint at its revision, or take a local folder, and record the hash of each file."""
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/models_fetch/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/models_fetch/{{model}}.tsv"
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
        content=lambda w: checkpoint_identity(CONFIG.models[w.model].checkpoint, Path(f"{R}/models/{w.model}.json")),
    message:
        "Fetching {wildcards.model} at its revision [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.fetch --spec {params.spec:q} --record {output.record:q}"
        " --content {params.content:q} 2>&1 | tee {log:q}"
