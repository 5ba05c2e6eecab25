# the vision tower's output, once per image and model, shared by base, tuned and every epoch


rule features_extract:
    """Compute the vision tower's output of a split's images that the store does not have."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        record=f"{R}/models/{{model}}.json",
    output:
        index=f"{R}/features/{{model}}/{{split}}/index.parquet",
    log:
        f"{R}/logs/features_extract/{{model}}.{{split}}.log",
    benchmark:
        f"{R}/benchmarks/features_extract/{{model}}.{{split}}.tsv"
    priority: 1  # training waits for it
    conda:
        CONDA
    threads: per_model(lambda gpus: 12 if gpus else 1)
    resources:
        gpu=per_model(one),
        mem_mb=growing(per_model(lambda gpus: 32000 if gpus else 2500)),
        runtime=growing(per_model(lambda gpus: 120 if gpus else 20)),
        batch=33,  # of 4,096 patches each: whole rounds of the 132 multiprocessors of an H100
        store=f"{STORE}/features",
    params:
        code=code_by_family("workflow_scripts.features.extract"),
        root=root_of_split(),
    message:
        "Computing vision features of {wildcards.split} with {wildcards.model} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.features.extract"
        " --split {input.split:q} --root {params.root:q} --model {input.record:q} --index {output.index:q}"
        " --store {resources.store:q} --batch {resources.batch} --threads {threads} 2>&1 | tee {log:q}"


use rule features_extract as features_extract_shots with:
    input:
        split=f"{R}/shots/{{split}}/{{system}}.parquet",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
    output:
        index=f"{R}/shots/{{split}}/{{system}}.features.parquet",
    log:
        f"{R}/logs/features_extract/{{split}}.{{system}}.shots.log",
    benchmark:
        f"{R}/benchmarks/features_extract/{{split}}.{{system}}.shots.tsv"
    wildcard_constraints:
        system=of_models(lambda system: system.shots is not None),
    params:
        code=code_by_family("workflow_scripts.features.extract"),
        root=lambda w: root_of(CONFIG.splits[CONFIG.systems[w.system].shots.train].dataset),
    message:
        "Computing vision features of the shots of {wildcards.system} for {wildcards.split} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
