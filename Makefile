.DEFAULT_GOAL := help
.PHONY: help run test check load bench-ingest bench-trace faults hostile fuzz clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin

help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Run everything on this machine: simulate a province, trace a case, stay up
	@$(BIN)/truyvet demo

test: $(VENV)/.installed ## Run the tests against real servers
	@$(BIN)/pytest -n 2

check: $(VENV)/.installed ## Lint, check types strictly, check the import walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

load: export TRUYVET_TOKEN := $(or $(TOKEN),$(TRUYVET_TOKEN))
load: $(VENV)/.installed ## Load a service with Locust, then audit that no scan was lost: SHAPE= SECONDS= USERS= URL=
	@$(BIN)/python -m loadtests.load --shape $(or $(SHAPE),steady) --seconds $(or $(SECONDS),45) \
		--users $(or $(USERS),40) --workers $(or $(WORKERS),0) --url "$(URL)" --api-url "$(API_URL)" \
		$(if $(CODES),--codes "$(CODES)")

bench-ingest: $(VENV)/.installed ## Measure what this machine takes, beside its baselines: SECONDS= WORKERS= OUT= DIR=
	@$(BIN)/python -m loadtests.bench --seconds $(or $(SECONDS),60) --workers $(or $(WORKERS),1) \
		$(if $(OUT),--out "$(OUT)") $(if $(DIR),--dir "$(DIR)")

bench-trace: $(VENV)/.installed ## Measure traces over ROWS= stays, held against the truth and beside PostgreSQL: OUT= DIR= KEEP=
	@$(BIN)/python -m loadtests.bench.trace --rows $(or $(ROWS),1000000) \
		$(if $(OUT),--out "$(OUT)") $(if $(DIR),--dir "$(DIR)") $(if $(KEEP),--keep "$(KEEP)")

faults: $(VENV)/.installed ## Kill and cut off every process under load, check after each round: SEED= ROUNDS= FROM= REPORT=
	@$(BIN)/python -m loadtests.faults --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),25) --from $(or $(FROM),0) \
		$(if $(REPORT),--report "$(REPORT)") $(if $(PLAN),--plan) $(if $(HASTY),--hasty)

hostile: $(VENV)/.installed ## Send a hundred thousand hostile requests, then honest ones beside crowds: SEED= REQUESTS=
	@$(BIN)/python -m loadtests.hostile --seed $(or $(SEED),1) --requests $(or $(REQUESTS),100000)

fuzz: $(VENV)/.fuzz ## Fuzz what reads untrusted bytes, guided by coverage: SECONDS= for each target
	@$(BIN)/python -m tests.hostile.fuzz --seconds $(or $(SECONDS),45)

clean: ## Remove the virtual environment, caches and the embedded data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache truyvet-data truyvet-load

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Truyvet needs Python 3.11 or newer on the PATH."; exit 1; }
	@echo "Setting up $(VENV) once with $$($(PYTHON) --version); this downloads about 400 MB."
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv, then try again."; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[embedded,dev]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.installed
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[fuzz]'
	@touch $@
