# fetch the checkpoint of a model, a judge or an encoder at its revision, or take a local one as it is


rule models_fetch:
    """Fetch a checkpoint at its revision, or take a local folder, and record the hash of each file."""
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/models_fetch/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/models_fetch/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(CHECKPOINTS) or "(?!)",
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        download=lambda w: size_of_checkpoint(w.model),
    params:
        code=code("workflow_scripts.models.fetch"),
        spec=lambda w: CHECKPOINTS[w.model].spec(),
        content=lambda w: option("--content", state_of_checkpoint(w.model) or []),
    message:
        "Fetching {wildcards.model} at its revision, {resources.download} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.fetch --spec {params.spec:q} --record {output.record:q}"
        " {params.content:q} 2>&1 | tee {log:q}"
