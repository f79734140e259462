# `make` lists what can be done here. Every target installs what it needs into .venv.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= .demo
EXTRAS ?= test
MAKEFLAGS += --no-print-directory
BIN := $(abspath $(VENV))/bin
PROJECT := $(DEMO)/eta

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs proto clean

help: ## List what can be done here
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv

$(VENV)/demo-is-installed: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[sklearn,features,serve]'
	@touch $@

$(VENV)/$(EXTRAS)-is-installed: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[$(EXTRAS)]'
	@touch $@

demo: export PATH := $(BIN):$(PATH)
demo: $(VENV)/demo-is-installed ## From nothing: features, a model of real flights, a bundle, a month predicted, an evening served
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo '── a project to start from'
	mlkit init eta $(PROJECT) > $(DEMO)/log && head -n 1 $(DEMO)/log
	@echo '── flights to train on, each with what was known when it left'
	$(MAKE) -C $(PROJECT) training.parquet
	@echo '── how good is the model on weeks that it has not seen'
	$(MAKE) -C $(PROJECT) train
	@echo '── the trained model becomes a bundle, with its features, compared with the original'
	$(MAKE) -C $(PROJECT) export
	@echo '── is it intact, and does it still give the same answers'
	$(MAKE) -C $(PROJECT) verify
	@echo '── one flight, and a month of flights, Parquet to Parquet'
	$(MAKE) -C $(PROJECT) predict batch
	@echo '── a store, filled as of an evening in December'
	$(MAKE) -C $(PROJECT) materialize get
	@echo '── that evening once more: departures are posted to a server while it is asked about the flights that leave'
	$(MAKE) -C $(PROJECT) live
	@echo '── was every vector that it served the one that history gives, bit for bit?'
	$(MAKE) -C $(PROJECT) check
	@echo '── done; the project is in $(PROJECT). Your own model: mlkit export --help'

test: $(VENV)/$(EXTRAS)-is-installed lint ## Check everything: lint, types, import contracts, tests
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/$(EXTRAS)-is-installed ## Only the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/$(EXTRAS)-is-installed ## Measure all, or ONLY="bench_start …", beside their targets, into tests/benchmarks/RESULTS.md
	$(BIN)/python -m tests.benchmarks.run $(ONLY)

docs: $(VENV)/$(EXTRAS)-is-installed ## Write the command reference of the README anew from --help
	$(BIN)/python -m tests.docs.reference README.md

proto: $(VENV)/$(EXTRAS)-is-installed ## Compile the messages of the gRPC protocol anew
	$(BIN)/python -m tests.modes.online.grpc.compile_proto

clean: ## Remove what was made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
