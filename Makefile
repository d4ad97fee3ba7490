.DEFAULT_GOAL := help
.PHONY: help run test check clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin

help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Run everything on this machine: simulate a province, trace a case, stay up
	@$(BIN)/truyvet demo

test: $(VENV)/.installed ## Run the tests against real servers
	@$(BIN)/pytest -n 2

check: $(VENV)/.installed ## Lint, check types strictly, check the import walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## Remove the virtual environment, caches and the embedded data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache truyvet-data

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Truyvet needs Python 3.11 or newer on the PATH."; exit 1; }
	@echo "Setting up $(VENV) once with $$($(PYTHON) --version); this downloads about 400 MB."
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv, then try again."; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[embedded,dev]'
	@touch $@
