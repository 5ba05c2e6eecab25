# Small jobs that meet one fault each, run through profiles/slurm. `attempt` tells the first submission from later ones.

FAULTS = ["exits", "segfaults", "cancelled", "outgrows", "overstays", "refused", "steady"]


localrules:
    all,


rule all:
    input:
        expand("out/{name}.txt", name=[*FAULTS, "gpu_1", "gpu_2", "no_gpu"]),


rule exits:  # leaves half an output, until it is mended
    output:
        "out/exits.txt",
    resources:
        mem_mb=lambda w, attempt: 600 * attempt,
        runtime=5,
    shell:
        "echo half > {output}; test -e mended"


rule segfaults:
    output:
        "out/segfaults.txt",
    resources:
        mem_mb=lambda w, attempt: 600 * attempt,
        runtime=5,
        attempt=lambda w, attempt: attempt,
    shell:
        "echo {resources.attempt} > {output}; if [ {resources.attempt} = 1 ]; then kill -SEGV $$; fi"


rule cancelled:
    output:
        "out/cancelled.txt",
    resources:
        mem_mb=600,
        runtime=5,
        attempt=lambda w, attempt: attempt,
    shell:
        "echo {resources.attempt} > {output}; if [ {resources.attempt} = 1 ]; then sleep 200; fi"


rule outgrows:  # its memory
    output:
        "out/outgrows.txt",
    resources:
        mem_mb=lambda w, attempt: 800 * attempt,
        runtime=5,
    shell:
        "echo half > {output}; python -c \"import time; held = b'x' * 800_000_000; time.sleep(5)\";"
        " echo {resources.mem_mb} > {output}"


rule overstays:  # its run time
    output:
        "out/overstays.txt",
    resources:
        mem_mb=600,
        runtime=lambda w, attempt: attempt,
        attempt=lambda w, attempt: attempt,
    shell:
        "echo half > {output}; if [ {resources.attempt} = 1 ]; then sleep 200; fi; echo {resources.runtime} > {output}"


rule refused:  # by sbatch
    output:
        "out/refused.txt",
    resources:
        mem_mb=600,
        runtime=5,
        slurm_partition="nowhere",
    shell:
        "echo whole > {output}"


rule steady:
    output:
        "out/steady.txt",
    resources:
        mem_mb=600,
        runtime=5,
    shell:
        "sleep 3; echo whole > {output}"


rule with_gpus:
    output:
        "out/gpu_{number}.txt",
    resources:
        mem_mb=600,
        runtime=5,
        gpu=lambda w: int(w.number),
        gpu_model="fake",
    shell:
        "echo ${{CUDA_VISIBLE_DEVICES:-none}} > {output}"


rule without_gpu:
    output:
        "out/no_gpu.txt",
    resources:
        mem_mb=600,
        runtime=5,
        gpu=0,
        gpu_model="fake",
    shell:
        "echo ${{CUDA_VISIBLE_DEVICES:-none}} > {output}"


rule fetched:  # where Snakemake runs, like downloads
    output:
        "out/fetched.txt",
    localrule: True
    shell:
        "echo ${{HF_HUB_OFFLINE:-online}} > {output}"


rule computed:
    input:
        "out/fetched.txt",
    output:
        "out/computed.txt",
    resources:
        mem_mb=600,
        runtime=5,
    shell:
        "echo ${{HF_HUB_OFFLINE:-online}} > {output}"
