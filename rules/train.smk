# tune a model by a recipe, merge its adapter into the base, and upload it where the configuration says so


TUNED = CONFIG.tuned()


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
    # The longest job on a machine without a GPU: it starts as soon as it can, and leaves the other cores to the rest.
    priority: 2
    conda:
        CONDA
    threads: per_model(lambda gpus: 8 if gpus else 1)
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


rule train_merge:
    """Merge an adapter into its base, at the base's own precision: full weights for serving."""
    input:
        weights=f"{R}/systems/{{system}}/adapter/adapter_model.safetensors",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
    output:
        merged=f"{R}/systems/{{system}}/merged/provenance.json",
    log:
        f"{R}/logs/train_merge/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_merge/{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda entry: entry.recipe),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(per_model(lambda gpus: 5000 if gpus else 2000)),
        runtime=growing(per_model(lambda gpus: 60 if gpus else 10)),
    params:
        code=code("workflow_scripts.train.merge"),
        adapter=lambda w, input: str(Path(input.weights).parent),
        out=lambda w, output: str(Path(output.merged).parent),
    message:
        "Merging {wildcards.system} into its base [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.train.merge --model {input.record:q} --adapter {params.adapter:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"


rule merge:
    """Full weights of every tuned system, in `systems/SYSTEM/merged/`."""
    input:
        lambda w: expand(f"{R}/systems/{{system}}/merged/provenance.json", system=CONFIG.to_merge()),


rule train_push:
    """Upload an adapter or merged weights with the model card to the hub; only `push` asks for it."""
    input:
        weights=lambda w: f"{R}/systems/{w.system}/"
        + (
            "merged/provenance.json"
            if CONFIG.publish[w.system].what == "merged"
            else "adapter/adapter_model.safetensors"
        ),
        card=f"{R}/systems/{{system}}/card/README.md",
    output:
        record=f"{R}/systems/{{system}}/published.json",
    log:
        f"{R}/logs/train_push/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_push/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(CONFIG.publish) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        code=code("workflow_scripts.train.push"),
        publication=lambda w: CONFIG.publish[w.system].spec(),
        folder=lambda w, input: str(Path(input.weights).parent),
        repo=lambda w: CONFIG.publish[w.system].repo,
    message:
        "Uploading {wildcards.system} to {params.repo} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.train.push --publication {params.publication:q} --system {wildcards.system:q}"
        " --folder {params.folder:q} --card {input.card:q} --out {output.record:q} 2>&1 | tee {log:q}"


rule push:
    """Upload what `publish` names to the hub; never part of another target."""
    input:
        lambda w: expand(f"{R}/systems/{{system}}/published.json", system=CONFIG.to_push()),
