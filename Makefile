# The one entry: people and CI call the same targets. Everything runs in $(VENV), made from the locks when they change.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
export TORCH TORCH_INDEX

# Nothing here reports home; waiting threads sleep instead of spinning, which on shared cores costs 35 times and more.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export OMP_WAIT_POLICY := PASSIVE
export NO_UPDATE_NOTIFIER := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

RUN := $(VENV)/bin/python -m
NODE := scripts/with_node.sh $(VENV)
INSTALLED := $(VENV)/.installed
SOLC := contracts/node_modules/.installed
DAEMON := tests/daemon/node_modules/.installed
PACKAGES := fedchain clients server conf experiments tests scripts

MAKEFLAGS += --jobs=$(WORKERS)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow check format lint types imports contracts forge halmos slither readme fix bench \
	bench-engine bench-peers daemon lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target what; do \
		printf '  make %-10s %s\n' "$$target" "$$what"; done
	@echo 'PYTHON=, VENV=, WORKERS=, TORCH_INDEX=<url of a CPU index> and TORCH=cuda change how (CONTRIBUTING.md)'

install: $(INSTALLED) ## make .venv from the locks, if it is missing or they changed

demo: $(INSTALLED) ## train over four hospitals, seal every round, then verify the lineage
	$(VENV)/bin/fedchain run experiment=heart --home .fedchain
	$(VENV)/bin/fedchain verify --trust .fedchain/trust.json --home .fedchain

test: check forge ## check, then every test but the slow ones
	$(RUN) pytest -n $(WORKERS) --dist worksteal -m "not slow" --ignore=tests/test_readme.py

test-slow: $(INSTALLED) $(SOLC) $(DAEMON) ## the slow tests
	@scripts/softhsm.sh .cache/softhsm
	$(RUN) pytest -n $(WORKERS) --dist worksteal -m slow

check: format lint types imports contracts readme ## format, lint, types, import rules, contract artifacts, README

format: $(INSTALLED)
	$(RUN) ruff format --check --quiet $(PACKAGES)

lint: $(INSTALLED)
	$(RUN) ruff check --quiet $(PACKAGES)

types: $(INSTALLED)
	$(RUN) mypy --no-error-summary
	$(NODE) $(RUN) pyright --pythonpath $(VENV)/bin/python

imports: $(INSTALLED)
	$(VENV)/bin/lint-imports --no-logo

contracts: $(SOLC)
	$(NODE) node contracts/compile.mjs --check

forge: $(SOLC) ## the contracts' own tests, fuzzing, invariants and gas
	cd contracts && FORGE_SNAPSHOT_CHECK=true FORGE_SNAPSHOT_EMIT=false \
		../$(NODE) node_modules/@foundry-rs/forge-*/bin/forge test --summary
	$(NODE) node contracts/gas.mjs --check

halmos: $(SOLC) ## prove the contracts' core rules for every input (own venv; not part of test)
	$(PYTHON) -m venv contracts/build/halmos
	contracts/build/halmos/bin/pip install --disable-pip-version-check -q -r contracts/halmos.lock
	cd contracts && FOUNDRY_PROFILE=symbolic PATH="$$(echo $$PWD/node_modules/@foundry-rs/forge-*/bin):$$PATH" \
		../$(NODE) build/halmos/bin/halmos --forge-build-out build/symbolic --solver-timeout-assertion 60000

slither: $(SOLC) ## what slither says of the contracts (own venv; not part of test)
	$(PYTHON) -m venv contracts/build/slither
	contracts/build/slither/bin/pip install --disable-pip-version-check -q -r contracts/slither.lock
	cd contracts && FOUNDRY_PROFILE=sources PATH="$$(echo $$PWD/node_modules/@foundry-rs/forge-*/bin):$$PATH" \
		../$(NODE) build/slither/bin/slither . --filter-paths node_modules --foundry-out-directory build/sources \
		--fail-none

readme: $(INSTALLED)
	$(RUN) pytest -q tests/test_readme.py

fix: $(INSTALLED) ## format, and mend what the linter can mend
	$(RUN) ruff format $(PACKAGES)
	$(RUN) ruff check --fix $(PACKAGES)

bench: $(INSTALLED) $(DAEMON) ## print what fedchain costs, against bare loops
	$(RUN) experiments.bench

bench-engine: $(INSTALLED) ## print the simulation engine's speed, against loops and Opacus
	$(RUN) experiments.engine
	$(RUN) experiments.engine.population

bench-peers: $(INSTALLED) ## install peers in .cache/peers and print their speed beside ours
	$(RUN) experiments.engine.peers

daemon: $(DAEMON) ## install the node of IPFS for slow tests and benchmarks (300 MB, minutes)

lock: ## write both locks anew from pyproject.toml
	$(PYTHON) -m scripts.lock

clean: ## remove .venv, node_modules and caches, never a home
	rm -rf $(VENV) contracts/node_modules tests/daemon/node_modules .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml requirements.lock requirements-dev.lock scripts/venv.py
	$(PYTHON) scripts/venv.py $(VENV) requirements-dev.lock

$(SOLC): contracts/package-lock.json | $(INSTALLED)
	cd contracts && ../$(NODE) npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

# Without the install scripts of its packages: what they would build has prebuilt binaries.
$(DAEMON): tests/daemon/package-lock.json | $(INSTALLED)
	cd tests/daemon && ../../$(NODE) npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@
