# answer each split with each system, in shards


scattergather:
    infer=CONFIG.inference.shards,


rule infer_answer:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        record=lambda w: f"{R}/models/{model_of(w.cohort)}.json",
        features=features_for_answering,
        adapter=lambda w: [adapter for system in w.cohort.split("+") for adapter in adapter_of(system)],
    output:
        shard=f"{R}/predictions/{{split}}/{{cohort}}/{{scatteritem}}.parquet",
    log:
        f"{R}/logs/infer_answer/{{split}}.{{cohort}}.{{scatteritem}}.log",
    benchmark:
        f"{R}/benchmarks/infer_answer/{{split}}.{{cohort}}.{{scatteritem}}.tsv"
    wildcard_constraints:
        cohort="|".join(sorted({re.escape(cohort_of(system)) for system in ANSWERING})) or "(?!)",
    conda:
        CONDA
    threads: per_model(lambda gpus: 4 if gpus else 1)
    resources:
        gpu=per_model(int),
        launcher=per_model(alone),
        mem_mb=per_model(lambda gpus: 48000 if gpus else 2500),
        runtime=per_model(lambda gpus: 240 if gpus else 20),
        batch=per_model(lambda gpus: 1024 if gpus else 64),
        store=f"{STORE}/answers",
    params:
        code=code("workflow_scripts.infer.answer"),
        tree=tree_of_split,
        cohort=lambda w: canonical_json([asked(system) for system in w.cohort.split("+")]),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
    message:
        "Answering {wildcards.split} with {wildcards.cohort}, shard {wildcards.scatteritem} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "{resources.launcher} workflow_scripts.infer.answer --split {input.split:q} --shard {wildcards.scatteritem}"
        " --model {input.record:q} --features {input.features:q} --tree {params.tree:q} --cohort {params.cohort:q}"
        " --budgets {params.budgets:q} --batch {resources.batch} --threads {threads}"
        " --store {resources.store:q} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_gather:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        shards=shards_of_system,
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_gather/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_gather/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, ModelSystem),
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("workflow_scripts.infer.gather"),
    message:
        "Gathering the answers of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.gather --split {input.split:q} --shards {input.shards:q}"
        " --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_trivial:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        train=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_trivial/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_trivial/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, TrivialSystem),
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("workflow_scripts.infer.trivial"),
        spec=lambda w: CONFIG.systems[w.system].spec(),
    message:
        "Answering {wildcards.split} with {wildcards.system}, without looking [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.trivial --spec {params.spec:q} --train {input.train:q}"
        " --split {input.split:q} --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"
