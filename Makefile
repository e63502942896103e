# `make study` and `make test` do everything on a fresh machine; the second time they are quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT    ?= study
ARGS   ?=

.PHONY: study test test-fast lint bench clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

study: $(VENV)/.study ## set up, then the default study (digits, 5 arms, 10 seeds) into OUT=study
	$(BIN)/slopewise run --out $(OUT) $(ARGS)

test: $(VENV)/.dev $(VENV)/.system ## set up, then every test, slow ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-fast: $(VENV)/.dev ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(VENV)/.dev ## ruff, ruff format --check, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev ## every benchmark; tables on the screen, JSON in benchmarks/results
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

clean: ## remove the environment and caches, never a study
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp is stale when the dependencies changed; editable installs see source changes at once.
$(VENV)/.study: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[study]'
	touch $@

$(VENV)/.dev: $(VENV)/.study
	$(PIP) -e '.[dev]'
	touch $@

# Chromium for the page's tests and the Fashion-MNIST files: Debian's packages where apt can install them.
$(VENV)/.system: tools/install-system-packages.sh $(VENV)/.dev
	sh tools/install-system-packages.sh $(BIN)/python
	touch $@
