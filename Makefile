# Every target makes its own .venv; nothing is needed beforehand but python3 (3.11 to 3.13), its venv module and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONTESTANTS := benchmarks/.venv
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-integration test-nix test-containers images lint bench bench-quick generate lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("FileIntel needs Python 3.11 to 3.13: make PYTHON=...") \
		if not (3, 11) <= sys.version_info[:2] < (3, 14) else 0'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null 2>&1 \
		|| $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked packages into $(VENV) ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements.lock -r requirements-dev.lock
	@$(PIP) --no-index --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## start everything, index a small collection, ask it questions
	$(BIN)/fileintel demo

# `make -j2 --output-sync test` runs unit tests, which compute, beside integration tests, which mostly wait.
test: test-nix test-unit test-integration ## run all tests

test-unit: $(STAMP) ## run the unit tests, and those of the checkout (docs, lock files, benchmarks), alone
	$(BIN)/python -m pytest tests/unit tests/checkout

test-integration: $(STAMP) ## run the integration tests alone: a real Postgres, broker, workers; containers where they can run
	$(BIN)/python -m pytest tests/chaos tests/integration

test-nix: $(STAMP) ## run the Nix tests alone; FILEINTEL_NIXPKGS=folder of a nixpkgs, or of its lib, asks more
	$(BIN)/python -m pytest tests/nix

# Both need a container engine: the one that answers, or as root on a Debian a Docker that is started for them.
ENGINE := $(BIN)/python tools/with_engine.py

images: $(STAMP) ## make the container images of Debian's packages and the locked wheels
	$(ENGINE) $(BIN)/python tools/images.py

test-containers: $(STAMP) ## run the tests in containers, on images made before if need be
	$(ENGINE) sh -c '$(BIN)/python tools/images.py && $(BIN)/python -m pytest tests/integration/containers'

lint: $(STAMP) ## check style, types, imports, configuration and that generated files are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/python -m fileintel.configuration.generated --check

$(CONTESTANTS)/.installed: benchmarks/requirements.lock
	@$(CONTESTANTS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(CONTESTANTS)
	@echo "Installing stock GraphRAG and LightRAG into $(CONTESTANTS) ..."
	@$(CONTESTANTS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes \
		--only-binary :all: -r benchmarks/requirements.lock
	@touch $@

bench: $(STAMP) $(CONTESTANTS)/.installed ## measure against stock GraphRAG and LightRAG (about an hour)
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP) $(CONTESTANTS)/.installed ## measure FileIntel alone, in under three minutes
	$(BIN)/python -m benchmarks --profile quick

generate: $(STAMP) ## write the files that are derived from settings.py
	$(BIN)/python -m fileintel.configuration.generated

# Needs uv (https://docs.astral.sh/uv); only a change of dependencies needs this target. `make lock UPGRADE=--upgrade`
# takes the newest versions, without it the locked ones are kept where they still fit.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links $(UPGRADE)
lock: $(STAMP) ## pin the dependencies of pyproject.toml with their hashes
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) benchmarks/requirements.in --constraint requirements.lock --output-file benchmarks/requirements.lock
	$(BIN)/python tools/wheels.py

clean: ## remove what the other targets made
	rm -rf $(VENV) $(CONTESTANTS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
