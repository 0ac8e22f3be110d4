# `make demo` and `make test` are all a newcomer needs; each makes its own .venv the first time.
# A bare machine with Python 3.11, pip and make is enough; node is used for the protocol checks
# and the Node client test when it is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test lint format proto bench proof clean
help:
	@echo "make demo         the whole story in a terminal (ONCE=1: ends by itself)"
	@echo "make test         lint, types, import rules, stub drift, all tests but bench"
	@echo "make lint         only the checks that run no test"
	@echo "make proto        regenerate cis_client/v1 from proto/"
	@echo "make bench        print the performance figures (BENCH=name: one of them; CHECK=1: fail on"
	@echo "                  a missed bound; AGAINST=COMMIT: compare with another commit)"
	@echo "make proof        simulate with known truth, write docs/proof.md (CHECK=1: fail on a missed"
	@echo "                  bound; SEEDS=200 of each kind, JOBS= processes)"
	@echo "make clean        remove the environment and every generated file"

$(BIN)/python:
	@# Debian ships Python without ensurepip; its pip can still fill an environment.
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; }

$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the server into $(VENV) (the first time only)"
	$(PIP) install -q -c constraints.txt -e '.[server]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the server and the tools of development into $(VENV) (the first time only)"
	$(PIP) install -q -c constraints.txt -e '.[server,dev]'
	@touch $@ $(VENV)/.server

# buf (protocol lint) and grpc-js (a foreign client) come from npm; without node they are left out.
$(VENV)/.node: proto/package.json tests/e2e/package.json | $(BIN)/python
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-fund --no-audit --no-package-lock --prefix proto && \
	  npm install --silent --no-fund --no-audit --no-package-lock --prefix tests/e2e && touch $@; \
	else echo "node is not here: buf and the Node client test are left out"; fi

demo: $(VENV)/.server
	$(BIN)/cis-server demo $(if $(ONCE),--once)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check

test: lint $(VENV)/.node
	$(BIN)/python -m pytest -m "not bench" -n auto --dist loadfile $(PYTEST_ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/.dev
	$(BIN)/python proto/generate.py

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench $(BENCH) $(if $(CHECK),--check) $(if $(AGAINST),--against $(AGAINST))

proof: $(VENV)/.dev
	$(BIN)/python -m tests.proof $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) \
	  $(if $(CHECK),--check)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache var/proof var/bench proto/node_modules tests/e2e/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
