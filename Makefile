# Everything a contributor does. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test check format starter starter-report docs bench clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP)  ## make the environment in .venv

demo: $(STAMP)  ## ask the bundled starter about an example clip
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## install and pass the tests
	$(BIN)/python -m pytest

check: $(STAMP)  ## ruff and pyright strict
	$(BIN)/ruff check src tests examples scripts
	$(BIN)/ruff format --check src tests examples scripts
	$(BIN)/pyright

format: $(STAMP)  ## let ruff arrange and mend what it can
	$(BIN)/ruff check --fix src tests examples scripts
	$(BIN)/ruff format src tests examples scripts

clean:  ## remove what was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
