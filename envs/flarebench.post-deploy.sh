# Snakemake runs this in the environment of flarebench.yaml, once it is there. The checkout is first on PYTHONPATH.
set -eu
envs="${PYTHONPATH%%:*}/envs"
python -m pip install -r "$envs/requirements.txt" -c "$envs/constraints.txt"
python -m pip install --no-deps -r "$envs/requirements-judges.txt"
