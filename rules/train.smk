# tune a model by a recipe, choose a setting of a sweep, learn a router, merge its adapter into the base, and upload it where the configuration says so


TUNED = CONFIG.tuned()


rule train_tune:
    """Tune a model by a recipe on a split, and publish the adapter, its history and its answers to held-back rows."""
    input:
        split=lambda w: f"{R}/splits/{ENTRIES[w.system].train}/rows.parquet",
        record=lambda w: f"{R}/models/{ENTRIES[w.system].model}.json",
        features=lambda w: features_of([w.system], ENTRIES[w.system].train),
    output:
        weights=f"{R}/systems/{{system}}/adapter/adapter_model.safetensors",
        history=f"{R}/systems/{{system}}/history.parquet",
        samples=f"{R}/systems/{{system}}/samples.parquet",
    log:
        f"{R}/logs/train_tune/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_tune/{{system}}.tsv"
    wildcard_constraints:
        system=of_recipes(CONFIG.trained(), full=False),
    # The longest job on a machine without a GPU: it starts as soon as it can, and leaves the other cores to the rest.
    priority: 2
    conda:
        CONDA
    threads: per_model(lambda gpus: 8 if gpus else 1)
    resources:
        gpu=per_model(int),
        launcher=per_model(launcher),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 3500)),
        images=lambda w: images_in_words([w.system]),
        tracking=CONFIG.tracking,
        runtime=growing(per_model(lambda gpus: 720 if gpus else 30)),
        store=f"{STORE}/adapters",
    params:
        code=code_by_family("workflow_scripts.train.tune"),
        root=lambda w: root_of(CONFIG.splits[ENTRIES[w.system].train].dataset),
        recipe=lambda w: CONFIG.recipes[ENTRIES[w.system].recipe].spec(),
        prompt=lambda w: ENTRIES[w.system].prompt.spec(),
        boxes=lambda w: boxes_option(ENTRIES[w.system].model),
        adapter=f"{R}/systems/{{system}}/adapter",
        checkpoints=f"{R}/systems/{{system}}/checkpoints",
        features=with_signature(lambda w, input: option("--features", input.features)),
    message:
        "Tuning {wildcards.system} on {resources.images} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "{resources.launcher} workflow_scripts.train.tune --recipe {params.recipe:q} --prompt {params.prompt:q}"
        " --split {input.split:q} --root {params.root:q} --model {input.record:q} {params.features:q}"
        " --adapter {params.adapter:q} --history {output.history:q} --checkpoints {params.checkpoints:q}"
        " --threads {threads} --tracking {resources.tracking:q} --store {resources.store:q} {params.boxes:q} 2>&1"
        " | tee {log:q}"


use rule train_tune as train_tune_weights with:
    output:
        weights=f"{R}/systems/{{system}}/adapter/weights.safetensors",
        history=f"{R}/systems/{{system}}/history.parquet",
        samples=f"{R}/systems/{{system}}/samples.parquet",
    wildcard_constraints:
        system=of_recipes(CONFIG.trained(), full=True),


rule train_select:
    """Choose one setting of a sweep by rows held back from training, and publish it as the sweep's own system."""
    input:
        weights=lambda w: [weights for setting in SETTINGS[w.system] for weights in adapter_of(setting)],
        histories=lambda w: expand(f"{R}/systems/{{setting}}/history.parquet", setting=SETTINGS[w.system]),
        samples=lambda w: expand(f"{R}/systems/{{setting}}/samples.parquet", setting=SETTINGS[w.system]),
        split=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
        record=lambda w: record_of_boxes(w.system),
    output:
        weights=f"{R}/systems/{{system}}/adapter/adapter_model.safetensors",
        history=f"{R}/systems/{{system}}/history.parquet",
        samples=f"{R}/systems/{{system}}/samples.parquet",
        selection=f"{R}/systems/{{system}}/selection.json",
    log:
        f"{R}/logs/train_select/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_select/{{system}}.tsv"
    wildcard_constraints:
        system=of_recipes(SELECTED, full=False),
    priority: 2
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.train.select"),
        boxes=lambda w: boxes_option(CONFIG.systems[w.system].model),
        record=with_signature(lambda w, input: option("--record", input.record)),
        selection=lambda w: CONFIG.sweeps[w.system].select.spec(),
        settings=lambda w: SETTINGS[w.system],
        recipes=lambda w: [CONFIG.recipes[setting].spec() for setting in SETTINGS[w.system]],
        folders=lambda w: [f"{R}/systems/{setting}" for setting in SETTINGS[w.system]],
    message:
        "Choosing the setting of {wildcards.system} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.train.select --selection {params.selection:q} --sweep {wildcards.system:q}"
        " --settings {params.settings:q} --recipes {params.recipes:q} --folders {params.folders:q}"
        " --split {input.split:q} --weights {output.weights:q} {params.boxes:q} {params.record:q}"
        " --out {output.selection:q} 2>&1 | tee {log:q}"


use rule train_select as train_select_weights with:
    output:
        weights=f"{R}/systems/{{system}}/adapter/weights.safetensors",
        history=f"{R}/systems/{{system}}/history.parquet",
        samples=f"{R}/systems/{{system}}/samples.parquet",
        selection=f"{R}/systems/{{system}}/selection.json",
    wildcard_constraints:
        system=of_recipes(SELECTED, full=True),


rule train_router:
    """Learn which expert a question is for, and publish the router's folder."""
    input:
        split=lambda w: f"{R}/splits/{ROUTED[w.system].train}/rows.parquet",
        encoder=lambda w: encoder_of_router(w.system),
    output:
        router=f"{R}/systems/{{system}}/router/router.json",
    log:
        f"{R}/logs/train_router/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_router/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(CLASSIFIED) or "(?!)",
    conda:
        CONDA
    threads: 2
    resources:
        gpu=lambda w: gpus_of_router(w.system),
        mem_mb=growing(4000),
        runtime=growing(60),
        batch=64,
        store=f"{STORE}/routers",
    params:
        code=code("workflow_scripts.train.router"),
        on=lambda w: ROUTED[w.system].on,
        encoder=with_signature(lambda w, input: option("--encoder", input.encoder)),
        folder=lambda w, output: str(Path(output.router).parent),
    message:
        "Learning which expert a question is for, {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.train.router"
        " --on {params.on:q} --split {input.split:q} {params.encoder:q} --gpus {resources.gpu} --batch {resources.batch}"
        " --store {resources.store:q} --out {params.folder:q} 2>&1 | tee {log:q}"


rule train_merge:
    """Merge tuned weights into their base, at the base's own precision: a checkpoint for serving."""
    input:
        weights=lambda w: adapter_of(w.system),
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
    output:
        merged=f"{R}/systems/{{system}}/merged/provenance.json",
    log:
        f"{R}/logs/train_merge/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/train_merge/{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda entry: entry.recipe or entry.adapter),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(per_model(lambda gpus: 5000 if gpus else 2000)),
        runtime=growing(per_model(lambda gpus: 60 if gpus else 10)),
    params:
        code=code("workflow_scripts.train.merge"),
        adapter=lambda w: member(w.system)["adapter"],
        out=lambda w, output: str(Path(output.merged).parent),
    message:
        "Merging {wildcards.system} into its base [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.train.merge --model {input.record:q} --adapter {params.adapter:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"


rule merge:
    """Full weights of every system with an adapter, in `systems/SYSTEM/merged/`."""
    input:
        lambda w: expand(f"{R}/systems/{{system}}/merged/provenance.json", system=CONFIG.to_merge()),


rule train_push:
    """Upload an adapter or merged weights with the model card to the hub; only `push` asks for it."""
    input:
        weights=lambda w: (
            f"{R}/systems/{w.system}/merged/provenance.json"
            if CONFIG.publish[w.system].what == "merged"
            else adapter_of(w.system)[0]
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
