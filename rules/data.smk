# take stock of a dataset, download or prepare it; convert it to rows; audit and split them; write them for SFT


rule data_inventory:
    """List the files of a local dataset with their hashes."""
    output:
        manifest=f"{R}/data/{{dataset}}/manifest.json",
    log:
        f"{R}/logs/data_inventory/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_inventory/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, LocalDataset),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code("workflow_scripts.data.inventory"),
        spec=lambda w: CONFIG.datasets[w.dataset].source_spec(),
        root=lambda w: root_of(w.dataset),
        content=lambda w: state_of(w.dataset),
        seen=f"{R}/data/{{dataset}}/seen.json",
        without=lambda w: option("--without", results_inside(w.dataset)),
    message:
        "Taking stock of {wildcards.dataset}: {params.root} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.inventory --spec {params.spec:q} --root {params.root:q}"
        " --manifest {output.manifest:q} --identity {params.content:q} --seen {params.seen:q} {params.without:q}"
        " 2>&1 | tee {log:q}"


rule data_download:
    """Download a dataset from the Hugging Face hub, or copy it from a mirror folder."""
    output:
        manifest=f"{R}/data/{{dataset}}/manifest.json",
    log:
        f"{R}/logs/data_download/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_download/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, HubDataset),
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
    params:
        code=code("workflow_scripts.data.download"),
        spec=lambda w: CONFIG.datasets[w.dataset].source_spec(),
        root=lambda w: root_of(w.dataset),
    message:
        "Downloading {wildcards.dataset} from the hub [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.download --spec {params.spec:q} --out {params.root:q}"
        " --manifest {output.manifest:q} --threads {threads} 2>&1 | tee {log:q}"


use rule data_download as data_download_tables with:
    output:
        manifest=f"{R}/data/{{dataset}}/download.json",
    log:
        f"{R}/logs/data_download_tables/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_download_tables/{{dataset}}.tsv"
    wildcard_constraints:
        dataset="|".join(name for name, entry in CONFIG.datasets.items() if downloads(entry)) or "(?!)",
    localrule: True
    params:
        code=code("workflow_scripts.data.download"),
        spec=lambda w: CONFIG.datasets[w.dataset].download_spec(),
        root=f"{R}/data/{{dataset}}/download",


rule data_prepare:
    """Lay out a table, a DICOM folder or NIfTI volumes as FLARE lays out its folders."""
    input:
        download=lambda w: [f"{R}/data/{w.dataset}/download.json"] if downloads(CONFIG.datasets[w.dataset]) else [],
    output:
        manifest=f"{R}/data/{{dataset}}/manifest.json",
    log:
        f"{R}/logs/data_prepare/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_prepare/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, PREPARED),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        code=lambda w: [code("workflow_scripts.data.prepare"), code_of_source(w.dataset)],
        spec=lambda w: CONFIG.datasets[w.dataset].source_spec(),
        source=lambda w: source_of(w.dataset),
        root=lambda w: root_of(w.dataset),
        look=lambda w: look_at_source(w.dataset),
    message:
        "Preparing {wildcards.dataset}: {params.source} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.prepare --spec {params.spec:q} --source {params.source:q} --out {params.root:q}"
        " --manifest {output.manifest:q} --name {wildcards.dataset:q} {params.look:q}"
        " --jobs {threads} 2>&1 | tee {log:q}"


rule data_convert:
    """Type every record of a dataset; what cannot be used goes to quarantine with a reason."""
    input:
        manifest=f"{R}/data/{{dataset}}/manifest.json",
    output:
        rows=f"{R}/data/{{dataset}}/rows.parquet",
        quarantine=f"{R}/data/{{dataset}}/quarantine.parquet",
        images=f"{R}/data/{{dataset}}/images.parquet",
        conventions=f"{R}/data/{{dataset}}/conventions.parquet",
    log:
        f"{R}/logs/data_convert/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_convert/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, CONVERTED),
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        code=code("workflow_scripts.data.convert"),
        policies=lambda w: CONFIG.datasets[w.dataset].policies.spec(),
        root=lambda w: root_of(w.dataset),
        workdir=f"{R}/data/{{dataset}}/converted",
    message:
        "Converting {wildcards.dataset}: every record a row, or quarantined with a reason [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.convert --root {params.root:q} --manifest {input.manifest:q}"
        " --rows {output.rows:q} --quarantine {output.quarantine:q} --images {output.images:q}"
        " --conventions {output.conventions:q} --workdir {params.workdir:q} --policies {params.policies:q} --jobs {threads} 2>&1 | tee {log:q}"


rule data_join:
    """Put the rows of several datasets together as one dataset's."""
    input:
        tables=lambda w: [
            f"{R}/data/{name}/{table}.parquet" for name in parts_of(w.dataset) for table in TABLES_OF_DATA
        ],
    output:
        rows=f"{R}/data/{{dataset}}/rows.parquet",
        quarantine=f"{R}/data/{{dataset}}/quarantine.parquet",
        images=f"{R}/data/{{dataset}}/images.parquet",
        conventions=f"{R}/data/{{dataset}}/conventions.parquet",
    log:
        f"{R}/logs/data_join/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_join/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=named(CONFIG.datasets, JoinedDataset),
    conda:
        CONDA
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.data.join"),
        tables=lambda w: option("--tables", [f"{name}={R}/data/{name}" for name in parts_of(w.dataset)]),
        roots=lambda w: option("--roots", [f"{name}={root_of(name)}" for name in parts_of(w.dataset)]),
        root=lambda w: root_of(w.dataset),
    message:
        "Joining {wildcards.dataset} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.join {params.tables:q} {params.roots:q} --out {params.root:q}"
        " --rows {output.rows:q} --quarantine {output.quarantine:q} --images {output.images:q}"
        " --conventions {output.conventions:q} 2>&1 | tee {log:q}"


rule data_audit:
    """Report what is wrong with a converted dataset, what was done about it, and what there is."""
    input:
        rows=f"{R}/data/{{dataset}}/rows.parquet",
        quarantine=f"{R}/data/{{dataset}}/quarantine.parquet",
        images=f"{R}/data/{{dataset}}/images.parquet",
        conventions=f"{R}/data/{{dataset}}/conventions.parquet",
    output:
        findings=f"{R}/data/{{dataset}}/audit/findings.parquet",
        summary=f"{R}/data/{{dataset}}/audit/summary.parquet",
        balance=f"{R}/data/{{dataset}}/audit/balance.parquet",
        page=report(f"{R}/data/{{dataset}}/audit/index.html", category="Audits", labels={"data": "{dataset}"}),
    log:
        f"{R}/logs/data_audit/{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/data_audit/{{dataset}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.data.audit"),
        root=lambda w: root_of(w.dataset),
    message:
        "Auditing {wildcards.dataset} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.audit --rows {input.rows:q} --quarantine {input.quarantine:q}"
        " --images {input.images:q} --conventions {input.conventions:q} --root {params.root:q} --findings {output.findings:q}"
        " --summary {output.summary:q} --balance {output.balance:q} --page {output.page:q} --name {wildcards.dataset:q}"
        " 2>&1 | tee {log:q}"


rule data_split:
    """Select the rows of a split; none shares an image or a case with an evaluated split."""
    input:
        rows=lambda w: f"{R}/data/{CONFIG.splits[w.split].dataset}/rows.parquet",
        images=lambda w: images_of(w.split),
        others=lambda w: [f"{R}/data/{dataset}/rows.parquet" for dataset in other_protected(w.split)],
        selections=lambda w: selections_before(w.split),
    output:
        rows=f"{R}/splits/{{split}}/rows.parquet",
        left_out=f"{R}/splits/{{split}}/left_out.parquet",
    log:
        f"{R}/logs/data_split/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/data_split/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.data.split"),
        spec=lambda w: CONFIG.splits[w.split].spec(),
        protect=lambda w: canonical_json([split.model_dump(mode="json") for split in protected_from(w.split)]),
        others=lambda w: option(
            "--protect-rows", [f"{dataset}={R}/data/{dataset}/rows.parquet" for dataset in other_protected(w.split)]
        ),
        unanswered=lambda w: "keep" if w.split in CONFIG.submit else "leave-out",
    message:
        "Selecting the split {wildcards.split} [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.split --rows {input.rows:q} --images {input.images:q} --spec {params.spec:q}"
        " --protect {params.protect:q} {params.others:q} --unanswered {params.unanswered:q}"
        " --out {output.rows:q} --left-out {output.left_out:q} 2>&1 | tee {log:q}"


rule data_sft:
    """Write a split as conversations for supervised fine-tuning; the Parquet holds the images."""
    input:
        rows=f"{R}/splits/{{split}}/rows.parquet",
    output:
        jsonl=f"{R}/splits/{{split}}/sft.jsonl",
        parquet=f"{R}/splits/{{split}}/sft.parquet",
    log:
        f"{R}/logs/data_sft/{{split}}.log",
    benchmark:
        f"{R}/benchmarks/data_sft/{{split}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code("workflow_scripts.data.sft"),
        root=root_of_split(),
    message:
        "Writing {wildcards.split} as conversations for SFT [{threads} CPU, {resources.mem_mb} MB, {resources.runtime} min]"
    shell:
        "python -m workflow_scripts.data.sft --split {input.rows:q} --root {params.root:q}"
        " --out {output.jsonl:q} --parquet {output.parquet:q} 2>&1 | tee {log:q}"
