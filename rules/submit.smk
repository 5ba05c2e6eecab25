# pack a system for a challenge: what an image is built from, and the command that answers in it without a network

from workflow_scripts.submit.steps import ROUTING, STEPS

CONTAINERS = CONFIG.container.folder or f"{R}/container"
# The dataset whose policies and conventions the challenge's questions are read by.
SUBMITTED = CONFIG.splits[(CONFIG.submit or CONFIG.evaluate)[0]].dataset
PACKED = LOADED + [name for name in CONFIG.container.systems if name in ROUTED]


rule submit_container:
    """Pack a system: code, weights, adapter, requirements, recipes of images, and predict.sh."""
    input:
        record=lambda w: f"{R}/models/{model_in(w.system)}.json",
        adapter=lambda w: [adapter for system in answering_in(w.system) for adapter in adapter_of(system)],
        router=lambda w: f"{R}/systems/{w.system}/router/router.json" if w.system in CLASSIFIED else [],
        encoder=lambda w: encoder_of_router(w.system) if w.system in ROUTED else [],
        conventions=f"{R}/data/{SUBMITTED}/conventions.parquet",
    output:
        record=f"{CONTAINERS}/{{system}}/container.json",
    log:
        f"{R}/logs/submit_container/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/submit_container/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(PACKED) or "(?!)",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.submit.container"),
        steps=lambda w: [
            code(module, CONFIG.models[model_in(w.system)].family)
            for module in STEPS + (ROUTING if w.system in ROUTED else ())
        ],
        members=with_signature(lambda w: [canonical_json(member(system)) for system in answering_in(w.system)]),
        routing=lambda w: routing_in(w.system),
        policies=CONFIG.datasets[SUBMITTED].policies.spec(),
        max_new_tokens=MAX_NEW_TOKENS,
        features=lambda w: bool(features_of(answering_in(w.system), "any")),
        gpus=lambda w: gpus_in(w.system),
        threads=lambda w: 12 if gpus_in(w.system) else 1,
        batch=lambda w: 1024 if gpus_in(w.system) else 64,
        base_image=option("--base-image", CONFIG.container.base_image or []),
        gigabytes=CONFIG.container.gigabytes,
        seconds=option("--seconds", [] if CONFIG.container.seconds is None else str(CONFIG.container.seconds)),
    message:
        "Packing {wildcards.system} as a container [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.submit.container --system {wildcards.system:q} --members {params.members:q}"
        " {params.routing:q} --model {input.record:q}"
        " --conventions {input.conventions:q} --policies {params.policies:q}"
        " --max-new-tokens {params.max_new_tokens} --features {params.features:q} --batch {params.batch}"
        " --gpus {params.gpus:q} --threads {params.threads:q} {params.base_image:q}"
        " --gigabytes {params.gigabytes:q} {params.seconds:q} --out {output.record:q} 2>&1 | tee {log:q}"


rule container:
    """A container of every system that `container.systems` names, or of every tuned one."""
    input:
        lambda w: expand(f"{CONTAINERS}/{{system}}/container.json", system=CONFIG.container.to_pack(TUNED, PACKED)),
