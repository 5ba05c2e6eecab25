# pack a system for a challenge: what an image is built from, and the command that answers in it without a network

from workflow_scripts.submit.steps import STEPS

CONTAINERS = CONFIG.container.folder or f"{R}/container"
# The dataset whose policies and conventions the challenge's questions are read by.
SUBMITTED = CONFIG.splits[(CONFIG.submit or CONFIG.evaluate)[0]].dataset


rule submit_container:
    """Pack a system: code, weights, adapter, requirements, recipes of images, and predict.sh."""
    input:
        record=lambda w: f"{R}/models/{model_of_job(w)}.json",
        adapter=lambda w: adapter_of(w.system),
        conventions=f"{R}/data/{SUBMITTED}/conventions.parquet",
    output:
        record=f"{CONTAINERS}/{{system}}/container.json",
    log:
        f"{R}/logs/submit_container/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/submit_container/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(LOADED) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.submit.container"),
        steps=lambda w: [code(module, CONFIG.models[model_of_job(w)].family) for module in STEPS],
        member=with_signature(lambda w: canonical_json(member(w.system))),
        policies=CONFIG.datasets[SUBMITTED].policies.spec(),
        max_new_tokens=MAX_NEW_TOKENS,
        features=lambda w: bool(features_of([w.system], "any")),
        gpus=per_model(one),
        threads=per_model(lambda gpus: 12 if gpus else 1),
        batch=per_model(lambda gpus: 1024 if gpus else 64),
        base_image=option("--base-image", CONFIG.container.base_image or []),
        gigabytes=CONFIG.container.gigabytes,
        seconds=option("--seconds", [] if CONFIG.container.seconds is None else str(CONFIG.container.seconds)),
    message:
        "Packing {wildcards.system} as a container [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.submit.container --member {params.member:q} --model {input.record:q}"
        " --conventions {input.conventions:q} --policies {params.policies:q}"
        " --max-new-tokens {params.max_new_tokens:q} --features {params.features:q} --batch {params.batch}"
        " --gpus {params.gpus:q} --threads {params.threads:q} {params.base_image:q}"
        " --gigabytes {params.gigabytes:q} {params.seconds:q} --out {output.record:q} 2>&1 | tee {log:q}"


rule container:
    """A container of every system that `container.systems` names, or of every tuned one."""
    input:
        lambda w: expand(f"{CONTAINERS}/{{system}}/container.json", system=CONFIG.container.to_pack(TUNED, LOADED)),
