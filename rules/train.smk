# tune a model by a recipe; a killed job goes on from its last checkpoint


rule train_tune:
    input:
        split=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
        features=features_for_tuning,
        code=code("workflow_scripts.train.tune"),
    output:
        weights=f"{R}/systems/{{system}}/adapter/adapter_model.safetensors",
        history=f"{R}/systems/{{system}}/history.parquet",
    log:
        f"{R}/logs/train_tune/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_tune/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(n for n, s in CONFIG.systems.items() if isinstance(s, ModelSystem) and s.recipe) or "(?!)",
    conda:
        CONDA
    threads: lambda w: 8 if gpus_of(CONFIG.systems[w.system].model) else 2
    resources:
        gpu=lambda w: gpus_of(CONFIG.systems[w.system].model),
        mem_mb=lambda w, attempt: attempt * (48000 if gpus_of(CONFIG.systems[w.system].model) else 3500),
        tracking=CONFIG.tracking,
        runtime=lambda w, attempt: attempt * (720 if gpus_of(CONFIG.systems[w.system].model) else 30),
    params:
        launcher=lambda w: launcher_of(gpus_of(CONFIG.systems[w.system].model)),
        tree=lambda w: tree_of(CONFIG.splits[CONFIG.systems[w.system].train].dataset),
        features=lambda w, input: f"--features {input.features}" if input.features else "",
        recipe=lambda w: CONFIG.recipes[CONFIG.systems[w.system].recipe].spec(),
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        adapter=f"{R}/systems/{{system}}/adapter",
        checkpoints=f"{R}/systems/{{system}}/checkpoints",
    message:
        "Tuning {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "{params.launcher} workflow_scripts.train.tune --recipe {params.recipe:q} --prompt {params.prompt:q}"
        " --split {input.split:q} --tree {params.tree:q} --model {input.record:q} {params.features}"
        " --adapter {params.adapter:q} --history {output.history:q} --checkpoints {params.checkpoints:q}"
        " --threads {threads} --tracking {resources.tracking} 2>&1 | tee {log:q}"
