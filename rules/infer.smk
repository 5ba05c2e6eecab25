# answer each split with each system, in shards: with the model here, or behind a server


scattergather:
    infer=CONFIG.inference.shards,


rule infer_answer:
    input:
        unpack(answering),
        split=f"{R}/splits/{{split}}/rows.parquet",
    output:
        shard=f"{R}/predictions/{{split}}/{{group}}/{{scatteritem}}.parquet",
    log:
        f"{R}/logs/infer_answer/{{split}}.{{group}}.{{scatteritem}}.log",
    benchmark:
        f"{R}/benchmarks/infer_answer/{{split}}.{{group}}.{{scatteritem}}.tsv"
    wildcard_constraints:
        group="|".join(sorted({re.escape(load_group_of(system)) for system in LOADED})) or "(?!)",
    conda:
        CONDA
    threads: per_model(lambda gpus: 4 if gpus else 1)
    resources:
        gpu=per_model(one),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 2500)),
        runtime=growing(per_model(lambda gpus: 240 if gpus else 20)),
        batch=per_model(lambda gpus: 1024 if gpus else 64),
        tmpdir=TMPDIR,
        store=f"{STORE}/answers",
    params:
        code=code("workflow_scripts.infer.answer"),
        root=root_of_split(),
        group=known(lambda w: canonical_json([asked(system) for system in w.group.split("+")])),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
    message:
        "Answering {wildcards.split} with {wildcards.group}, shard {wildcards.scatteritem} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.infer.answer"
        " --split {input.split:q} --shard {wildcards.scatteritem}"
        " --model {input.record:q} --features {input.features:q} --root {params.root:q} --group {params.group:q}"
        " --budgets {params.budgets:q} --batch {resources.batch} --threads {threads}"
        " --store {resources.store:q} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_ask:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        adapter=lambda w: adapter_of(w.system),
    output:
        shard=f"{R}/predictions/{{split}}/{{system}}/{{scatteritem}}.parquet",
    log:
        f"{R}/logs/infer_ask/{{split}}.{{system}}.{{scatteritem}}.log",
    benchmark:
        f"{R}/benchmarks/infer_ask/{{split}}.{{system}}.{{scatteritem}}.tsv"
    wildcard_constraints:
        system=of_models(lambda system: system.engine is not None),
    conda:
        CONDA
    resources:
        gpu=0,
        mem_mb=growing(2000),
        runtime=growing(240),
        workers=lambda w: engine_of(w).workers,
        timeout=lambda w: str(engine_of(w).timeout),
        retries=lambda w: engine_of(w).retries,
        url=lambda w: engine_of(w).url,
        token=lambda w: f"--token-variable {engine_of(w).token_variable}" if engine_of(w).token_variable else "",
        store=f"{STORE}/answers",
    params:
        code=code("workflow_scripts.infer.ask"),
        root=root_of_split(),
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
        model=model_behind,
        served_as=lambda w: CONFIG.systems[w.system].served_as,
        adapter=lambda w: f"--adapter {R}/systems/{w.system}/adapter" if adapter_of(w.system) else "",
    message:
        "Asking a server for {wildcards.system}'s answers to {wildcards.split}, shard {wildcards.scatteritem} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min, {resources.workers} requests at a time]"
    shell:
        "python -m workflow_scripts.infer.ask --split {input.split:q} --shard {wildcards.scatteritem}"
        " --model {params.model:q} {params.adapter} --served-as {params.served_as:q} --root {params.root:q}"
        " --system {wildcards.system} --prompt {params.prompt:q} --budgets {params.budgets:q} --url {resources.url:q}"
        " {resources.token} --workers {resources.workers} --timeout {resources.timeout} --retries {resources.retries}"
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
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.gather"),
    message:
        "Gathering the answers of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.gather --split {input.split:q} --shards {input.shards:q}"
        " --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_stability:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        record=lambda w: f"{R}/models/{model_of(w.system)}.json",
        features=lambda w: features_of([w.system], w.split),
        adapter=lambda w: adapter_of(w.system),
    output:
        changed=f"{R}/predictions/{{split}}/{{system}}.stability.json",
    log:
        f"{R}/logs/infer_stability/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_stability/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system="|".join(LOADED) or "(?!)",
    conda:
        CONDA
    threads: per_model(lambda gpus: 4 if gpus else 1)
    resources:
        gpu=per_model(one),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 2500)),
        runtime=growing(per_model(lambda gpus: 60 if gpus else 20)),
    params:
        code=code("workflow_scripts.infer.stability"),
        root=root_of_split(),
        asked=lambda w: canonical_json(asked(w.system)),
        budgets=canonical_json(CONFIG.inference.max_new_tokens),
        sample="--batch 7 --count 200",
    message:
        "Asking {wildcards.system} again on a part of {wildcards.split} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.infer.stability"
        " --split {input.split:q} --predictions {input.predictions:q}"
        " --model {input.record:q} --features {input.features:q} --root {params.root:q} --asked {params.asked:q}"
        " --budgets {params.budgets:q} {params.sample} --threads {threads}"
        " --out {output.changed:q} 2>&1 | tee {log:q}"


rule stability:
    input:
        expand(f"{R}/predictions/{{split}}/{{system}}.stability.json", split=CONFIG.evaluate, system=LOADED),


rule infer_baseline:
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
        system=named(CONFIG.systems, BaselineSystem),
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.baseline"),
        spec=lambda w: CONFIG.systems[w.system].spec(),
    message:
        "Answering {wildcards.split} with {wildcards.system}, without looking [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.baseline --spec {params.spec:q} --train {input.train:q}"
        " --split {input.split:q} --system {wildcards.system} --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_imported:
    input:
        source=lambda w: str(CONFIG.systems[w.system].file),
        split=f"{R}/splits/{{split}}/rows.parquet",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        unmatched=f"{R}/predictions/{{split}}/{{system}}.unmatched.parquet",
    log:
        f"{R}/logs/infer_imported/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_imported/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, ImportedSystem),
    conda:
        CONDA
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.imported"),
    message:
        "Importing the predictions of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.imported --source {input.source:q} --split {input.split:q}"
        " --system {wildcards.system} --out {output.predictions:q} --unmatched {output.unmatched:q} 2>&1 | tee {log:q}"


rule infer_export:
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.json",
    log:
        f"{R}/logs/infer_export/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_export/{{split}}.{{system}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.export"),
    message:
        "Writing the predictions of {wildcards.system} on {wildcards.split} for the challenge [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.export --split {input.split:q} --predictions {input.predictions:q}"
        " --out {output.predictions:q} 2>&1 | tee {log:q}"
