# Every target sets itself up: python3 >= 3.11 and make are all a fresh machine needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check format bench docs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("nlpkit needs Python >= 3.11, this is %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,eval,viz]'
	touch $@

install: $(INSTALLED) ## create .venv with the pinned versions of constraints.txt

demo: $(INSTALLED) ## see the shipped word-level Chinese BERT at work
	$(BIN)/python recipes/demo.py

test: $(INSTALLED) ## the tests that finish within minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m 'not slow'

test-slow: $(INSTALLED) ## the long ones: fuzzing at scale, recipes end to end
	$(BIN)/python -m pytest -q -m slow

check: $(INSTALLED) ## lint, formatting, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## rewrite the files as `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## measure against the peers, side by side; writes benchmarks/results/
	$(BIN)/python benchmarks/wobert_tokenizer.py
	$(BIN)/python benchmarks/pretraining_step.py
	$(BIN)/python benchmarks/state_scale.py
	$(BIN)/python benchmarks/pet_scoring.py
	$(BIN)/python benchmarks/perturbed_masking.py
	$(BIN)/python benchmarks/ladder_side_tuning.py

docs: $(INSTALLED) ## run every example in the documentation as a test
	$(BIN)/python -m pytest -q --doctest-glob='*.md' docs README.md

clean: ## remove the environment and every cache
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
