# make demo: from a fresh machine to a running network. make test: everything that must hold.

PYTHON  ?= python3
WORKERS ?= 2
ARGS    ?=
SEEDS   ?= 200
FIRST   ?= 0
MODE    ?= safety
MINUTES ?= 30
EXAMPLES ?= 1000

VENV := .venv
BIN  := $(VENV)/bin
# Stamps are named by the content of the metadata: changed file times alone install nothing anew.
SUM        := $(shell cat setup.cfg setup.py pyproject.toml ledger/lthash/_streams.c | cksum | cut -d ' ' -f 1)
STAMP      := $(VENV)/.installed-$(SUM)
STAMP_TEST := $(VENV)/.installed-test-$(SUM)
PIP        := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types bench sim mutants fuzz chaos clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON (3.11 to 3.14), ARGS (passed on), WORKERS (of test, mutants), MINUTES"
	@echo "           and SEED (of chaos, fuzz), EXAMPLES (of fuzz), SEEDS, FIRST, MODE (of sim:"
	@echo "           safety, liveness or epochs)"

setup: $(STAMP) ## install into .venv

demo: $(STAMP) ## start a four-region network here and run an exchange on it
	@$(BIN)/tally demo $(ARGS)

test: lint types ## linter, formatter, type checker and all tests
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(STAMP_TEST) ## linter and formatter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP_TEST) ## type checker
	$(BIN)/mypy

bench: $(STAMP) ## measure throughput and latency of a local network
	@$(BIN)/tally bench $(ARGS)

sim: $(STAMP_TEST) ## simulate whole networks under faults: SEEDS runs from FIRST on in a MODE
	@$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --first $(FIRST) --mode $(MODE) $(ARGS)

mutants: $(STAMP_TEST) ## break the code in one place at a time and see a test fail; ARGS picks
	@$(BIN)/python -m tests.mutation.run --workers $(WORKERS) $(ARGS)

fuzz: $(STAMP_TEST) ## send a node EXAMPLES made-up requests for every operation
	@$(BIN)/python -m tests.fuzz.run --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos: $(STAMP_TEST) ## break a network of real nodes for MINUTES; SEED repeats a run
	@$(BIN)/python -m tests.e2e.chaos.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## remove .venv and all caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	    echo "Tallystick needs Python 3.11 to 3.14; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	    echo "Name another with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "Cannot make $(VENV); on Debian and Ubuntu install the python3-venv package." >&2; \
	    exit 1; }
	@echo "Installing into $(VENV) (about a minute the first time)"
	@$(PIP) install --editable .
	@rm -f $(VENV)/.installed-* && touch $@

$(STAMP_TEST): $(STAMP)
	@echo "Installing the test tools into $(VENV)"
	@$(PIP) install --editable '.[test]'
	@touch $@
