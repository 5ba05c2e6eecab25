# answer each split with each system, in shards: with the model here, or behind a server


scattergather:
    infer=CONFIG.inference.shards,


# Of these, what a larger batch changes is known to be rounding.
GREEDY = [name for name in LOADED if CONFIG.systems[name].samples is None]
# One text, quoted here: of a list, Snakemake would quote word by word, and look for wildcards, three times a job.
MAX_NEW_TOKENS = shlex.join(str(word) for pair in CONFIG.inference.max_new_tokens.items() for word in pair)


rule infer_shots:
    """Draw the answered rows of a training split that stand before the questions of a scored one."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        train=lambda w: f"{R}/splits/{CONFIG.systems[w.system].shots.train}/rows.parquet",
    output:
        shots=f"{R}/shots/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_shots/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_shots/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda system: system.shots is not None),
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.shots"),
        shots=lambda w: CONFIG.systems[w.system].shots.spec(),
    message:
        "Drawing the shots of {wildcards.system} for {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.shots --split {input.split:q} --train {input.train:q} --shots {params.shots:q}"
        " --out {output.shots:q} 2>&1 | tee {log:q}"


rule infer_answer:
    """Answer one shard of a split with a model that the job loads."""
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
        images=of_systems(images_in_words, LOADED),
        prompts=of_systems(prompts_in_words, LOADED),
        tmpdir=TMPDIR,
        store=f"{STORE}/answers",
    params:
        code=code_by_family("workflow_scripts.infer.answer"),
        root=root_of_split(),
        features=features_option,
        members=with_signature(lambda w: [member_spec(system, w.split) for system in w.group.split("+")]),
        max_new_tokens=MAX_NEW_TOKENS,
    message:
        "Answering {wildcards.split} with {wildcards.group}, shard {wildcards.scatteritem}, {resources.images}{resources.prompts} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.infer.answer"
        " --split {input.split:q} --shard {wildcards.scatteritem:q} --model {input.record:q} --root {params.root:q}"
        " {params.features:q} --members {params.members:q} --max-new-tokens {params.max_new_tokens}"
        " --batch {resources.batch} --threads {threads}"
        " --store {resources.store:q} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_ask:
    """Answer one shard of a split with a model behind a server."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        adapter=lambda w: adapter_of(w.system),
        record=lambda w: record_of_served(w.system),
        shots=lambda w: shots_of([w.system], w.split),
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
        token_variable=lambda w: engine_of(w).token_variable or "",
        prompts=lambda w: prompts_in_words([w.system]),
        store=f"{STORE}/answers",
    params:
        code=code("workflow_scripts.infer.ask"),
        root=root_of_split(),
        prompt=lambda w: CONFIG.systems[w.system].prompt.spec(),
        max_new_tokens=MAX_NEW_TOKENS,
        model=served_model,
        served_as=lambda w: CONFIG.systems[w.system].served_as,
        boxes=lambda w: boxes_option(CONFIG.systems[w.system].model),
        record=with_signature(lambda w, input: option("--record", input.record)),
        adapter=lambda w: option("--adapter", f"{R}/systems/{w.system}/adapter" if adapter_of(w.system) else []),
        prompts=lambda w: prompts_options(w.system, w.split),
    message:
        "Asking a server for {wildcards.system}'s answers to {wildcards.split}, shard {wildcards.scatteritem}{resources.prompts} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min, {resources.workers} requests at a time]"
    shell:
        "python -m workflow_scripts.infer.ask --split {input.split:q} --shard {wildcards.scatteritem:q}"
        " --model {params.model:q} {params.record:q} {params.adapter:q} --served-as {params.served_as:q} --root {params.root:q}"
        " --system {wildcards.system:q} --prompt {params.prompt:q} --max-new-tokens {params.max_new_tokens}"
        " {params.boxes:q} {params.prompts:q} --url {resources.url:q} --token-variable={resources.token_variable:q}"
        " --workers {resources.workers} --timeout {resources.timeout:q} --retries {resources.retries}"
        " --store {resources.store:q} --out {output.shard:q} 2>&1 | tee {log:q}"


rule infer_gather:
    """Put the shards of a system's answers together, each row once."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        shards=shards_of_system,
        record=lambda w: record_of_boxes(w.system),
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_gather/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_gather/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda system: system.samples is None),
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.gather"),
        boxes=lambda w: boxes_option(CONFIG.systems[w.system].model),
        record=with_signature(lambda w, input: option("--record", input.record)),
    message:
        "Gathering the answers of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.gather --split {input.split:q} --shards {input.shards:q}"
        " --system {wildcards.system:q} {params.boxes:q} {params.record:q} --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_consensus:
    """Put the shards of a system that answers several times together, each row with the answer that counts."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        shards=shards_of_system,
        record=lambda w: record_of_boxes(w.system),
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_consensus/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_consensus/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=of_models(lambda system: system.samples is not None),
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        code=code("workflow_scripts.infer.consensus"),
        draws=lambda w: str(CONFIG.systems[w.system].samples.draws),
        boxes=lambda w: boxes_option(CONFIG.systems[w.system].model),
        record=with_signature(lambda w, input: option("--record", input.record)),
    message:
        "Finding what the answers of {wildcards.system} on {wildcards.split} come to [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.consensus --split {input.split:q} --shards {input.shards:q}"
        " --system {wildcards.system:q} --draws {params.draws:q} {params.boxes:q} {params.record:q}"
        " --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_stability:
    """Count the answers that change with the size of the batch."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        record=lambda w: f"{R}/models/{model_of(w.system)}.json",
        features=lambda w: features_of([w.system], w.split),
        shots=lambda w: shots_of([w.system], w.split),
        features_of_shots=lambda w: features_of_shots(w.system, w.split),
        adapter=lambda w: adapter_of(w.system),
    output:
        changed=f"{R}/predictions/{{split}}/{{system}}.stability.json",
    log:
        f"{R}/logs/infer_stability/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_stability/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system="|".join(GREEDY) or "(?!)",
    conda:
        CONDA
    threads: per_model(lambda gpus: 4 if gpus else 1)
    resources:
        gpu=per_model(one),
        mem_mb=growing(per_model(lambda gpus: 48000 if gpus else 2500)),
        runtime=growing(per_model(lambda gpus: 60 if gpus else 20)),
    params:
        code=code_by_family("workflow_scripts.infer.stability"),
        root=root_of_split(),
        features=features_option,
        member=lambda w: canonical_json(member(w.system, w.split)),
        max_new_tokens=MAX_NEW_TOKENS,
        batch=7,
        sample=200,
    message:
        "Answering a part of {wildcards.split} again with {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.infer.stability"
        " --split {input.split:q} --predictions {input.predictions:q} --model {input.record:q} --root {params.root:q}"
        " {params.features:q} --member {params.member:q} --max-new-tokens {params.max_new_tokens}"
        " --batch {params.batch} --sample {params.sample} --threads {threads}"
        " --out {output.changed:q} 2>&1 | tee {log:q}"


rule stability:
    """Count, for every system that a job loads, the answers that change with the size of the batch."""
    input:
        [
            f"{R}/predictions/{split}/{system}.stability.json"
            for split in CONFIG.evaluate
            for system in on_split(GREEDY, split)
        ],


rule infer_baseline:
    """Answer a split from training rows alone, without an image."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        train=lambda w: f"{R}/splits/{CONFIG.systems[w.system].train}/rows.parquet",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/infer_baseline/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_baseline/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, BaselineSystem),
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code("workflow_scripts.infer.baseline"),
        baseline=lambda w: CONFIG.systems[w.system].baseline,
    message:
        "Answering {wildcards.split} from training rows, as {wildcards.system} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.baseline --baseline {params.baseline:q} --train {input.train:q}"
        " --split {input.split:q} --system {wildcards.system:q} --out {output.predictions:q} 2>&1 | tee {log:q}"


rule infer_imported:
    """Read predictions of another project as those of a system."""
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
        content=lambda w: state_of_file(
            CONFIG.systems[w.system].file, f"{R}/predictions/{w.split}/{w.system}.seen.json"
        ),
        seen=f"{R}/predictions/{{split}}/{{system}}.seen.json",
    message:
        "Importing the predictions of {wildcards.system} on {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.infer.imported --source {input.source:q} --split {input.split:q}"
        " --system {wildcards.system:q} --content {params.content:q} --seen {params.seen:q}"
        " --out {output.predictions:q} --unmatched {output.unmatched:q} 2>&1 | tee {log:q}"


rule infer_route:
    """Give each row of a routed system the answer of one of its experts."""
    input:
        unpack(routing),
        split=f"{R}/splits/{{split}}/rows.parquet",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
        routes=f"{R}/predictions/{{split}}/{{system}}.routes.parquet",
    log:
        f"{R}/logs/infer_route/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/infer_route/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system=named(CONFIG.systems, RoutedSystem),
    conda:
        CONDA
    threads: 2
    resources:
        gpu=lambda w: gpus_of_router(w.system),
        mem_mb=growing(3000),
        runtime=growing(20),
        batch=64,
    params:
        code=code("workflow_scripts.infer.route"),
        route=lambda w: ROUTED[w.system].spec(),
        router=lambda w, input: option("--router", str(Path(input.router).parent) if "router" in input.keys() else []),
        encoder=lambda w, input: option("--encoder", input.encoder if "encoder" in input.keys() else []),
        facts=lambda w, input: option("--facts", input.facts if "facts" in input.keys() else []),
    message:
        "Choosing an expert for each row of {wildcards.split}, as {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.infer.route"
        " --split {input.split:q} --system {wildcards.system:q} --route {params.route:q}"
        " --predictions {input.predictions:q} {params.router:q} {params.encoder:q} {params.facts:q}"
        " --batch {resources.batch} --out {output.predictions:q} --routes {output.routes:q} 2>&1 | tee {log:q}"


rule infer_export:
    """Write a system's predictions as the challenge takes them."""
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
