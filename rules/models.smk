# fetch the checkpoint of a model, an adapter, a judge or an encoder at its revision, or take a local one as it is; convert
# one in its authors' own layout, which is fetched as published/MODEL

CONVERTED = {name: entry for name, entry in CONFIG.models.items() if getattr(entry, "vision_tower", None)}
WITH_CLIP = [name for name, entry in CONVERTED.items() if entry.vision_tower == "clip"]
CHECKPOINTS |= {f"published/{name}": CHECKPOINTS[name] for name in CONVERTED}
CHECKPOINTS |= {f"published/{name}-clip": CONVERTED[name].clip_to_fetch() for name in WITH_CLIP}


rule models_fetch:
    """Fetch a checkpoint at its revision, or take a local folder, and record the hash of each file."""
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/models_fetch/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/models_fetch/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(name for name in CHECKPOINTS if name not in CONVERTED) or "(?!)",
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        download=lambda w: size_of_checkpoint(w.model),
    params:
        code=code("workflow_scripts.models.fetch"),
        spec=lambda w: CHECKPOINTS[w.model].spec(),
        content=lambda w: option("--content", state_of_checkpoint(w.model) or []),
    message:
        "Fetching {wildcards.model} at its revision, {resources.download} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.fetch --spec {params.spec:q} --record {output.record:q}"
        " {params.content:q} 2>&1 | tee {log:q}"


rule models_convert:
    """Convert a checkpoint in its authors' own layout into one that transformers loads, and record its files."""
    input:
        published=f"{R}/models/published/{{model}}.json",
        clip=lambda w: f"{R}/models/published/{w.model}-clip.json" if w.model in WITH_CLIP else [],
    output:
        record=f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/models_convert/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/models_convert/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(CONVERTED) or "(?!)",
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(12000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.models.convert"),
        vision_tower=lambda w: CONVERTED[w.model].vision_tower,
        clip=lambda w, input: option("--clip", input.clip),
    message:
        "Converting {wildcards.model}, {params.vision_tower} vision tower [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.models.convert --published {input.published:q} --record {output.record:q}"
        " --vision-tower {params.vision_tower:q} {params.clip:q} 2>&1 | tee {log:q}"
