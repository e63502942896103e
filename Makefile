# `make study` and `make test` do everything on a fresh machine; the second time they are quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DOCS   := .venv-docs
REL    := .venv-release
OUT    ?= study
ENGINE ?= local
ARGS   ?=

# Where containers ask for no bytecode, each of the hundreds of processes that tests and studies start would compile the
# package anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: study test test-fast lint bench docs docs-version dist clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

study: $(VENV)/.study $(VENV)/.kernels $(if $(filter ray,$(ENGINE)),$(VENV)/.ray) ## set up, then an adaptive study (digits, 5 arms, at most 40 seeds) into OUT=study; ENGINE=ray runs it on Ray
	$(BIN)/slopewise run --until-decided --engine $(ENGINE) --out $(OUT) $(ARGS)

test: $(VENV)/.dev $(VENV)/.kernels $(VENV)/.system ## set up, then every test, slow ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-fast: $(VENV)/.dev $(VENV)/.kernels ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(VENV)/.dev ## ruff, ruff format --check, mypy, the contracts of rooms and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/rooms.py --check
	$(BIN)/python tools/prose.py
	$(BIN)/python tools/alarms.py --check
	$(BIN)/python tools/claims.py --check
	$(BIN)/python tools/private_imports.py
	$(BIN)/python tools/study_pages.py --check
	$(BIN)/python tools/glossary.py --check
	$(BIN)/python tools/glossary_links.py --check
	$(BIN)/python tools/notebooks.py --check
	PYTHONPATH=. $(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev $(VENV)/.kernels ## every benchmark; tables on the screen, JSON in benchmarks/results
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

docs: $(DOCS)/.done ## the documentation as a site with the API reference, build/site; warnings are errors
	PYTHONPATH=tools $(DOCS)/bin/python -m docs_site.pages
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict --config-file build/mkdocs.yml
	PYTHONPATH=tools $(DOCS)/bin/python -m docs_site.check build/site

docs-version: docs ## the site as one version of several, in the branch gh-pages: make docs-version VERSION=0.1
	PATH="$(CURDIR)/$(DOCS)/bin:$$PATH" DOCS_VERSIONS=mike NO_MKDOCS_2_WARNING=1 \
	  mike deploy --config-file build/mkdocs.yml --update-aliases $(VERSION) latest

dist: $(VENV)/.dev $(REL)/.done ## the source archive and this platform's wheel in dist/, checked, and installed where there is no compiler
	rm -rf build/dist dist
	$(BIN)/python -m build --no-isolation --outdir build/dist
	PATH="$(CURDIR)/$(REL)/bin:$$PATH" auditwheel repair --strip --exclude 'libtorch*.so' --exclude 'libc10*.so' --wheel-dir dist build/dist/*.whl
	cp build/dist/*.tar.gz dist
	$(REL)/bin/twine check --strict dist/*
	$(REL)/bin/check-wheel-contents dist/*.whl
	$(REL)/bin/pydistcheck dist/*
	$(REL)/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(REL)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	SLOPEWISE_WHEEL=$$(echo dist/*.whl) $(BIN)/python -m pytest tests/e2e/test_install.py -k empty_environment --timeout 1800 # it downloads PyTorch

clean: ## remove the environment and caches, never a study
	rm -rf $(VENV) $(DOCS) $(REL) build dist src/slopewise/_kernels*.so src/slopewise/_kernels_missing.txt .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp is stale when what it was made from changed; editable installs see changes in Python at once. The kernels are
# built against the PyTorch that they will run with, hence not in an environment of their own.
$(VENV)/.study: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch setuptools
	$(PIP) --no-build-isolation -e '.[study]'
	touch $@

$(VENV)/.ray: $(VENV)/.study
	$(PIP) --no-build-isolation -e '.[study,ray]'
	touch $@

$(VENV)/.dev: $(VENV)/.study
	$(PIP) --no-build-isolation -e '.[dev]'
	touch $@

# Compiles only what the two above have not.
$(VENV)/.kernels: setup.py $(wildcard csrc/*) $(VENV)/.study
	$(PIP) --no-build-isolation --no-deps -e .
	touch $@

# The tools of the site and of a release run beside the package, and need neither PyTorch nor slopewise. Groups need pip 25.1.
.venv-%/.done: pyproject.toml constraints.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group $*
	touch $@

# Chromium for the page's tests and the Fashion-MNIST files: Debian's packages where apt can install them.
$(VENV)/.system: tools/install-system-packages.sh $(VENV)/.dev
	sh tools/install-system-packages.sh $(BIN)/python
	touch $@
