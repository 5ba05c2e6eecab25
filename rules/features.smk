# the vision tower's output, once per image and model, shared by base, tuned and every epoch


rule features_extract:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        record=f"{R}/models/{{model}}.json",
        code=code("workflow_scripts.features.extract"),
    output:
        index=f"{R}/features/{{model}}/{{split}}/index.parquet",
    log:
        f"{R}/logs/features_extract/{{model}}.{{split}}.log",
    benchmark:
        f"{R}/benchmarks/features_extract/{{model}}.{{split}}.tsv"
    conda:
        CONDA
    threads: lambda w: 12 if gpus_of(w.model) else 1
    resources:
        gpu=lambda w: gpus_of(w.model),
        mem_mb=lambda w, attempt: attempt * (32000 if gpus_of(w.model) else 2500),
        runtime=lambda w, attempt: attempt * (120 if gpus_of(w.model) else 20),
        batch=32,
    params:
        tree=tree_of_split,
    message:
        "Computing vision features of {wildcards.split} with {wildcards.model} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.features.extract --split {input.split:q} --tree {params.tree:q}"
        " --model {input.record:q} --index {output.index:q} --batch {resources.batch}"
        " --threads {threads} 2>&1 | tee {log:q}"
