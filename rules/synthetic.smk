# draw the toy dataset, and take the toy model that ships with the workflow


rule synthetic_dataset:
    """Draw the toy dataset."""
    output:
        manifest=f"{R}/data/{{dataset}}/manifest.json",
    log:
        f"{R}/logs/synthetic_dataset/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/synthetic_dataset/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, SyntheticDataset),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.synthetic.dataset"),
        spec=lambda w: CONFIG.datasets[w.dataset].source_spec(),
        root=lambda w: root_of(w.dataset),
    message:
        "Drawing the toy dataset {wildcards.dataset} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.synthetic.dataset --spec {params.spec:q} --out {params.root:q}"
        " --manifest {output.manifest:q} 2>&1 | tee {log:q}"


rule synthetic_model:
    """Take the toy model that ships with the workflow."""
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/synthetic_model/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/synthetic_model/{{model}}.tsv"
    wildcard_constraints:
        model=named(CONFIG.models, SyntheticModel),
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.synthetic.model"),
    message:
        "Taking the toy model {wildcards.model} that ships with the workflow [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.synthetic.model --record {output.record:q} 2>&1 | tee {log:q}"
