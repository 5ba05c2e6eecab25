# tune a model by a recipe; a killed job goes on from its last checkpoint


rule train_tune:
    """Tune a model by a recipe on a split, and publish the adapter and its history."""
    input:
        split=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
        features=features_for_tuning,
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
    threads: per_model(lambda gpus: 8 if gpus else 2)
    resources:
        gpu=per_model(int),
        launcher=per_model(launcher),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 3500)),
        tracking=CONFIG.tracking,
        runtime=growing(per_model(lambda gpus: 720 if gpus else 30)),
        store=f"{STORE}/adapters",
    params:
        code=code("workflow_scripts.train.tune"),
        root=lambda w: root_of(CONFIG.splits[CONFIG.systems[w.system].train].dataset),
        recipe=lambda w: CONFIG.recipes[CONFIG.systems[w.system].recipe].spec(),
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        adapter=f"{R}/systems/{{system}}/adapter",
        checkpoints=f"{R}/systems/{{system}}/checkpoints",
        features=with_signature(lambda w, input: option("--features", input.features)),
    message:
        "Tuning {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "{resources.launcher} workflow_scripts.train.tune --recipe {params.recipe:q} --prompt {params.prompt:q}"
        " --split {input.split:q} --root {params.root:q} --model {input.record:q} {params.features:q}"
        " --adapter {params.adapter:q} --history {output.history:q} --checkpoints {params.checkpoints:q}"
        " --threads {threads} --tracking {resources.tracking:q} --store {resources.store:q} 2>&1 | tee {log:q}"
