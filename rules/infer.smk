# answer each split with each system, in shards


scattergather:
    infer=CONFIG.inference.shards,


def adapter_of(wildcards):
    """The tuned system's weights; nothing for a base model."""
    if CONFIG.systems[wildcards.system].recipe is None:
        return []
    return f"{R}/systems/{wildcards.system}/adapter/adapter_model.safetensors"


rule infer_answer:
    message:
        "Answering {wildcards.split} with {wildcards.system}, shard {wildcards.scatteritem}"
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        record=lambda w: f"{R}/models/{CONFIG.systems[w.system].model}.json",
        features=lambda w: f"{R}/features/{CONFIG.systems[w.system].model}/{w.split}/index.parquet",
        adapter=adapter_of,
        code=code("workflow_scripts.infer.answer"),
    output:
        shard=f"{R}/predictions/{{split}}/{{system}}/{{scatteritem}}.parquet",
    params:
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
        adapter=lambda w: f"--adapter {R}/systems/{w.system}/adapter" if adapter_of(w) else "",
    wildcard_constraints:
        system=named(CONFIG.systems, ModelSystem),
    threads: lambda w: 4 if gpus_of(CONFIG.systems[w.system].model) else 1
    resources:
        gpu=lambda w: gpus_of(CONFIG.systems[w.system].model),
        mem_mb=lambda w: 48000 if gpus_of(CONFIG.systems[w.system].model) else 2500,
        runtime=lambda w: 240 if gpus_of(CONFIG.systems[w.system].model) else 20,
        batch=64,
    log:
        f"{R}/logs/infer_answer/{{split}}.{{system}}.{{scatteritem}}.log",
    benchmark:
        f"{R}/benchmarks/infer_answer/{{split}}.{{system}}.{{scatteritem}}.tsv"
    conda:
        CONDA
    shell:
        "python -m workflow_scripts.infer.answer --split {input.split:q} --shard {wildcards.scatteritem}"
        " --model {input.record:q} {params.adapter} --features {input.features:q} --system {wildcards.system}"
        " --prompt {params.prompt:q} --budgets {params.budgets:q} --batch {resources.batch}"
        " --threads {threads} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_gather:
    message:
        "Gathering the answers of {wildcards.system} on {wildcards.split}"
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        shards=gather.infer(f"{R}/predictions/{{{{split}}}}/{{{{system}}}}/{{scatteritem}}.parquet"),
        code=code("workflow_scripts.infer.gather"),
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    wildcard_constraints:
        system=named(CONFIG.systems, ModelSystem),
    resources:
        mem_mb=1000,
        runtime=10,
    log:
        f"{R}/logs/infer_gather/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_gather/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    shell:
        "python -m workflow_scripts.infer.gather --split {input.split:q} --shards {input.shards:q}"
        " --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_trivial:
    message:
        "Answering {wildcards.split} with {wildcards.system}, without looking"
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        train=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
        code=code("workflow_scripts.infer.trivial"),
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    params:
        spec=lambda w: CONFIG.systems[w.system].spec(),
    wildcard_constraints:
        system=named(CONFIG.systems, TrivialSystem),
    resources:
        mem_mb=1000,
        runtime=10,
    log:
        f"{R}/logs/infer_trivial/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_trivial/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    shell:
        "python -m workflow_scripts.infer.trivial --spec {params.spec:q} --train {input.train:q}"
        " --split {input.split:q} --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"
