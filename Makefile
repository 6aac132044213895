# make demo: neuron pages from the embedded demo.  make test: everything that is checked before a change lands.
# Both make their own environment in .venv/ from the pinned versions in envs/ and touch nothing else.
PYTHON ?= python3
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
# Stamps carry the pins' checksum, so that a changed pin is installed and nothing else is.
RUNTIME := $(VENV)/.runtime-$(shell cksum < envs/runtime.txt | tr -d ' ')
TEST := $(VENV)/.test-$(shell cat envs/runtime.txt envs/test.txt | cksum | tr -d ' ')

.PHONY: help env demo status browse why config stages test check bench faults lock clean
help:
	@sed -n 's/^# *\(make .*\)/\1/p' Makefile

env: $(RUNTIME)

demo: $(RUNTIME)
	@$(SNAKEMAKE) --quiet rules host progress reason

# make status: how far the runs are (RUN=mine for one), also while Snakemake runs.
status:
	@$(BIN)/python scripts/status.py $(RUN)

test: $(TEST)
	@sh .ci/system-packages
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -q -n $(CORES) --dist loadfile --no-loadscope-reorder

check: $(TEST)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile rules
	@$(BIN)/snakemake --lint
	@$(MAKE) --no-print-directory stages
	@$(BIN)/mypy
	@$(BIN)/python .ci/lint-scripts

# make browse RUN=demo: a site of a run where any neuron opens, for a browser here or, through ssh, elsewhere.
# MODEL=1 loads the model, for texts of your own; CONFIGFILE=mine.yaml for your own runs; PORT= and HOST= to listen at.
browse: $(RUNTIME)
	@$(BIN)/python scripts/browse.py $(RUN) $(if $(MODEL),--model) $(if $(CONFIGFILE),--configfile $(CONFIGFILE)) \
	  $(if $(PORT),--port $(PORT)) $(if $(HOST),--host $(HOST))

# make why TARGET=results/demo/site/index.html: what would run again, and for which key, file or version.
# CONFIGFILE=mine.yaml for runs of your own.
why:
	@$(BIN)/python scripts/why.py $(TARGET) $(if $(CONFIGFILE),--configfile $(CONFIGFILE))

# make config: config/config.schema.json and the tables of config/README.md, from scripts/gluscope/config/keys.py.
config:
	@PYTHONPATH=scripts $(BIN)/python -m gluscope.config.document

# make stages: which stages have code that nobody has decided on. SAME="scan merge" (or all): their results are as before;
# RAISE=scan WHY="what changes": they are not. docs/decisions/stages.md
stages:
	@PYTHONPATH=scripts $(BIN)/python -m gluscope.stages $(if $(SAME),same $(SAME),$(if $(RAISE),raise $(RAISE) "$(WHY)"))

# make bench: what a scan and a page cost here, into docs/performance.md; minutes, best on a quiet machine.
bench: $(RUNTIME)
	@$(BIN)/python scripts/bench.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: expected Python 3.11 or newer, found $$($(PYTHON) --version). Next: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: expected Python's venv module, found none. Next: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): envs/runtime.txt | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV)/ (one to three minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/runtime.txt
	@rm -f $(VENV)/.runtime-* && touch $@

$(TEST): $(RUNTIME) envs/test.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/test.txt
	@rm -f $(VENV)/.test-* && touch $@

# make faults ROUNDS=100: faults on a SLURM cluster of this machine's own; writes the table of docs/faults.md. Needs root.
# make faults WITHOUT=rename ROUNDS=2: the same without a precaution (rename, fsync, lock): files have to come out wrong.
ROUNDS ?= 18
RUNNERS ?= 1
WITHOUT ?=
faults: $(TEST)
	@PYTHONPATH=scripts:tests $(BIN)/python -m slurm.run_faults --rounds $(ROUNDS) --runners $(RUNNERS) --write --without=$(WITHOUT)

# make lock: new pins from envs/*.in, in a fresh environment.
lock:
	@sh .ci/lock

clean:
	rm -rf results logs benchmarks .snakemake
