# answer each split with each system, in shards


scattergather:
    infer=CONFIG.inference.shards,


rule infer_answer:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
        features=features_for_answering,
        adapter=adapter_of,
        code=code("workflow_scripts.infer.answer"),
    output:
        shard=f"{R}/predictions/{{split}}/{{system}}/{{scatteritem}}.parquet",
    log:
        f"{R}/logs/infer_answer/{{split}}.{{system}}.{{scatteritem}}.log",
    benchmark:
        f"{R}/benchmarks/infer_answer/{{split}}.{{system}}.{{scatteritem}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, ModelSystem),
    conda:
        CONDA
    threads: lambda w: 4 if gpus_of(CONFIG.systems[w.system].model) else 1
    resources:
        gpu=lambda w: gpus_of(CONFIG.systems[w.system].model),
        mem_mb=lambda w, attempt: attempt * (48000 if gpus_of(CONFIG.systems[w.system].model) else 2500),
        runtime=lambda w, attempt: attempt * (240 if gpus_of(CONFIG.systems[w.system].model) else 20),
        batch=lambda w: 256 if gpus_of(CONFIG.systems[w.system].model) else 64,
    params:
        tree=tree_of_split,
        features=lambda w, input: f"--features {input.features}" if input.features else "",
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
        adapter=lambda w: f"--adapter {R}/systems/{w.system}/adapter" if adapter_of(w) else "",
    message:
        "Answering {wildcards.split} with {wildcards.system}, shard {wildcards.scatteritem} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.answer --split {input.split:q} --shard {wildcards.scatteritem}"
        " --model {input.record:q} {params.adapter} {params.features} --tree {params.tree:q} --system {wildcards.system}"
        " --prompt {params.prompt:q} --budgets {params.budgets:q} --batch {resources.batch}"
        " --threads {threads} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_gather:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        shards=gather.infer(f"{R}/predictions/{{{{split}}}}/{{{{system}}}}/{{scatteritem}}.parquet"),
        code=code("workflow_scripts.infer.gather"),
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
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    message:
        "Gathering the answers of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.gather --split {input.split:q} --shards {input.shards:q}"
        " --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_trivial:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        train=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
        code=code("workflow_scripts.infer.trivial"),
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
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        spec=lambda w: CONFIG.systems[w.system].spec(),
    message:
        "Answering {wildcards.split} with {wildcards.system}, without looking [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.trivial --spec {params.spec:q} --train {input.train:q}"
        " --split {input.split:q} --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"
