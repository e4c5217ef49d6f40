# Every target sets itself up: python3 >= 3.11 and make are all a fresh machine needs.
#
#   make demo TORCH_INDEX=https://...   installs torch from that index of wheels first, where .venv has none yet
#   make demo VENV=/other/folder        keeps the environment elsewhere
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=

# What each target needs, and no more: the demo has no use for the tools of development, nor most tests for TensorFlow.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_CONVERT := $(VENV)/.installed-convert
INSTALLED_BENCH := $(VENV)/.installed-bench
INSTALLED_SITE := $(VENV)/.installed-site

TOOLS := .[dev,eval,peft,viz]

# pip's lines of downloads with their sizes, and a sign of life while it unpacks; its errors go to standard error.
PIP := PYTHONUNBUFFERED=1 PIP_CONSTRAINT=$(VENV)/constraints.txt $(BIN)/python -m pip install \
	--disable-pip-version-check --progress-bar off
SHORT := grep --line-buffered -E '^ *(Downloading|Using cached) .*\(|^Installing collected' || true
pip_install = { while sleep 5; do echo "  ..."; done & alive=$$!; trap 'kill $$alive' EXIT; $(PIP) $(1) | { $(SHORT); }; }

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-convert check format bench docs docs-site notebooks pictures clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(BIN)/python:
	@echo "Making an environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit("nlpkit needs Python >= 3.11, this is %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

# A torch that is there stays, whatever its version or build: the constraints then leave it alone.
$(VENV)/constraints.txt: constraints.txt | $(BIN)/python
	@if $(BIN)/python -c 'import importlib.metadata; importlib.metadata.version("torch")' 2>/dev/null; then \
		echo "Keeping the torch that is in $(VENV)."; grep -v '^torch==' constraints.txt > $@; \
	else \
		echo "Installing PyTorch: about 200 MB as a CPU build; 1 GB and more as a CUDA build, which is what PyPI has for Linux."; \
		cp constraints.txt $@; \
		$(call pip_install,$(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch) || { rm -f $@; exit 1; }; \
	fi

$(INSTALLED): pyproject.toml $(VENV)/constraints.txt
	@echo "Installing nlpkit and what it needs (transformers, datasets, about 150 MB) ..."
	@$(call pip_install,-e .)
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "Installing the tools of development (pytest, mypy, ruff, matplotlib, scikit-learn, about 120 MB) ..."
	@$(call pip_install,-e '$(TOOLS)')
	@touch $@

$(INSTALLED_CONVERT): $(INSTALLED_DEV)
	@echo "Installing TensorFlow, which reads the checkpoints of the conversion tests (about 300 MB) ..."
	@$(call pip_install,-e '.[convert]')
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED_DEV)
	@echo "Installing a peer that benchmarks compare with (pytorch-metric-learning, under 1 MB) ..."
	@$(call pip_install,-e '.[bench]')
	@touch $@

$(INSTALLED_SITE): $(INSTALLED_DEV)
	@echo "Installing what makes the site (mkdocs-material, mkdocstrings, nbclient, about 40 MB) ..."
	@$(call pip_install,-e '.[site]')
	@touch $@

install: $(INSTALLED_DEV) ## create .venv with the pinned versions of constraints.txt

demo: $(INSTALLED) ## see the shipped Chinese models at work
	@$(BIN)/python recipes/demo.py

test: $(INSTALLED_DEV) ## the tests that finish within minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not slow'

test-slow: $(INSTALLED_DEV) ## the long ones: fuzzing at scale, recipes end to end
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m slow

test-convert: $(INSTALLED_CONVERT) ## the tests of conversion, those that TensorFlow reads checkpoints for included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/wobert/conversion

check: $(INSTALLED_DEV) ## lint, formatting, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV) ## rewrite the files as `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED_BENCH) ## measure against the peers, side by side; writes benchmarks/results/
	$(BIN)/python benchmarks/run_all.py

docs: $(INSTALLED_DEV) ## run every example in the documentation and compare what it prints
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --doctest-glob='*.md' docs README.md tests/test_docs.py

docs-site: $(INSTALLED_SITE) ## make the site of these pages, with the reference, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Open site/index.html, or watch it while you write: $(BIN)/mkdocs serve"

notebooks: $(INSTALLED_SITE) ## make the notebooks out of the tutorial and run them
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks/make.py

pictures: $(INSTALLED_DEV) ## draw the pictures of the site's home page by the library
	$(BIN)/python docs/pictures/draw.py

clean: ## remove the environment and every cache
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
