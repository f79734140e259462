# `make` lists what can be done here. Every target installs what it needs into .venv.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= .demo
EXTRAS ?= test
BIN := $(abspath $(VENV))/bin
PROJECT := $(DEMO)/eta
FLIGHT := {"carrier":"B6","origin":"JFK","dest":"BOS","distance":187,"dep_delay":25,"weekday":5,"hour":18,"minute":30,"temp":39.9,"wind_speed":12.7,"visib":10}

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs proto clean

help: ## List what can be done here
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv

$(VENV)/demo-is-installed: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[sklearn]'
	@touch $@

$(VENV)/$(EXTRAS)-is-installed: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[$(EXTRAS)]'
	@touch $@

demo: export PATH := $(BIN):$(PATH)
demo: $(VENV)/demo-is-installed ## From nothing: train on real flights, export, verify, predict a month of flights
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo '── a project to start from'
	mlkit init eta $(PROJECT) > $(DEMO)/log && head -n 1 $(DEMO)/log
	@echo '── how good is the model on weeks that it has not seen'
	cd $(PROJECT) && python train.py
	@echo '── the trained model becomes a bundle, compared with the original'
	cd $(PROJECT) && mlkit export train.py:model --sample data/flights.parquet --target arr_delay --name flights-eta --out bundles/flights-eta
	@echo '── is it intact, and does it still give the same answers'
	cd $(PROJECT) && mlkit verify bundles/flights-eta
	@echo '── a month of flights, Parquet to Parquet'
	cd $(PROJECT) && mlkit batch-predict bundles/flights-eta data/2013-12.parquet --out predictions --keep time,carrier,flight,dest
	@echo '── one flight, now'
	cd $(PROJECT) && echo '$(FLIGHT)' | mlkit predict bundles/flights-eta
	@echo '── done; the project is in $(PROJECT). Your own model: mlkit export --help'

test: $(VENV)/$(EXTRAS)-is-installed lint ## Check everything: lint, types, import contracts, tests
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/$(EXTRAS)-is-installed ## Only the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/$(EXTRAS)-is-installed ## Measure everything beside its targets, into tests/benchmarks/RESULTS.md
	$(BIN)/python -m tests.benchmarks.run

docs: $(VENV)/$(EXTRAS)-is-installed ## Write the command reference of the README anew from --help
	$(BIN)/python -m tests.docs.reference README.md

proto: $(VENV)/$(EXTRAS)-is-installed ## Compile the messages of the gRPC protocol anew
	$(BIN)/python -m tests.modes.online.grpc.compile_proto

clean: ## Remove what was made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
