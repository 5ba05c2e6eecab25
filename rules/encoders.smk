# tune text encoders for tasks, and answer with them


rule encoders_train:
    """Tune a text encoder for tasks on a split, and publish a network for each with the log of its training."""
    input:
        split=lambda w: f"{R}/splits/{ENCODERS[w.system].train}/rows.parquet",
        record=f"{R}/models/encoders/systems/{{system}}.json",
    output:
        encoder=f"{R}/systems/{{system}}/encoder/encoder.json",
        history=f"{R}/systems/{{system}}/history.parquet",
    log:
        f"{R}/logs/encoders_train/{{system}}.log",
    benchmark:
        f"{R}/benchmarks/encoders_train/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(ENCODERS) or "(?!)",
    priority: 2
    conda:
        CONDA
    threads: 2
    resources:
        gpu=lambda w: ENCODERS[w.system].encoder.gpus,
        mem_mb=growing(lambda w: 16000 if ENCODERS[w.system].encoder.gpus else 4000),
        runtime=growing(lambda w: 480 if ENCODERS[w.system].encoder.gpus else 240),
        store=f"{STORE}/encoders",
    params:
        code=code("workflow_scripts.encoders.train"),
        spec=lambda w: ENCODERS[w.system].training.spec(),
        folder=lambda w, output: str(Path(output.encoder).parent),
        checkpoints=f"{R}/systems/{{system}}/checkpoints",
    message:
        "Tuning the encoder {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.encoders.train"
        " --spec {params.spec:q} --split {input.split:q} --record {input.record:q} --gpus {resources.gpu}"
        " --out {params.folder:q} --history {output.history:q} --checkpoints {params.checkpoints:q}"
        " --store {resources.store:q} 2>&1 | tee {log:q}"


rule encoders_answer:
    """Answer a split with a tuned encoder: the rows of the tasks that it was tuned for."""
    input:
        split=f"{R}/splits/{{split}}/rows.parquet",
        encoder=f"{R}/systems/{{system}}/encoder/encoder.json",
    output:
        predictions=f"{R}/predictions/{{split}}/{{system}}.parquet",
    log:
        f"{R}/logs/encoders_answer/{{split}}.{{system}}.log",
    benchmark:
        f"{R}/benchmarks/encoders_answer/{{split}}.{{system}}.tsv"
    wildcard_constraints:
        system="|".join(ENCODERS) or "(?!)",
    conda:
        CONDA
    threads: 2
    resources:
        gpu=lambda w: ENCODERS[w.system].encoder.gpus,
        mem_mb=growing(lambda w: 8000 if ENCODERS[w.system].encoder.gpus else 3000),
        runtime=growing(60),
        batch=lambda w: 64 if ENCODERS[w.system].encoder.gpus else 16,
    params:
        code=code("workflow_scripts.encoders.answer"),
        folder=lambda w, input: str(Path(input.encoder).parent),
    message:
        "Answering {wildcards.split} with the encoder {wildcards.system} [{threads} CPU, {resources.gpu} GPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.cli.devices {resources.gpu} -- python -m workflow_scripts.encoders.answer"
        " --split {input.split:q} --encoder {params.folder:q} --system {wildcards.system:q} --gpus {resources.gpu}"
        " --batch {resources.batch} --out {output.predictions:q} 2>&1 | tee {log:q}"
