# Every target sets up .venv when it is needed: `make book` works in a bare clone, in any folder.
# A folder's name may hold blanks: recipes quote $(BIN) and $(VENV), and the stamp escapes them.
PYTHON ?= python3
VENV ?= .venv
ENVIRONMENT := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
BIN := $(ENVIRONMENT)/bin
EMPTY :=
STAMP := $(subst $(EMPTY) ,\ ,$(VENV))/.installed
CHAPTERS := $(wildcard notebooks/*.ipynb)
NOT_CORE := $(addprefix --ignore-glob=tests/,study tools robustness test_benchmarks*)

# Kernels and subprocesses must find this environment's programs, whichever environment is active.
export PATH := $(BIN):$(PATH)
export VIRTUAL_ENV := $(ENVIRONMENT)
# One thread a process: tests and chapters run side by side, and more threads than cores that wait for
# each other are many times slower.
export OMP_NUM_THREADS ?= 1
JOBS ?= 2
unexport PYTHONHOME
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help setup book pdf quick lint types test coverage notebooks reproduce bench pages clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make .venv and install requirements.txt (again only when it changes)

$(STAMP): requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make setup: $(PYTHON) is $$("$(PYTHON)" --version 2>&1), expected Python 3.11 or later" \
	    "(name another with: make setup PYTHON=python3.12)" >&2; exit 1; }
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install -r requirements.txt
	@touch "$@"

book: setup ## Build book/_build/html, warnings as errors, and check that every page holds its outputs
	rm -rf book/_build
	"$(BIN)/jupyter-book" build -W -n --keep-going book/
	"$(BIN)/python" tools/check_book.py

pdf: ## Print the built pages with Chromium, into book/_build/pdf
	"$(BIN)/python" tools/print_pdf.py

lint: setup ## Style, spelling and the layers of the modules
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/codespell"
	"$(BIN)/lint-imports"

types: setup ## Check the type hints
	"$(BIN)/mypy"

quick: lint types ## Lint, types and the unit tests of the core, in a minute or two
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadscope -m "not slow" $(NOT_CORE) tests

# The tests in a browser read what `make book` has built; without a book or Chromium they are skipped.
test: lint types ## Lint, types, unit tests, the built book in a browser, the chapters against their outputs
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadscope -rs tests
	"$(BIN)/python" tools/check_notebooks.py
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadscope --nbval --nbval-current-env notebooks

coverage: setup ## Print how much of the library the unit tests run, the core apart
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadscope --cov --cov-report= tests
	"$(BIN)/coverage" report --sort=cover
	@echo "the core alone, in per cent:"
	@"$(BIN)/coverage" report --omit="gmvae_lib/study/*" --format=total

# Without timings and the interpreter's version, a chapter re-executed elsewhere gives the same file.
notebooks: setup ## Execute the chapters in place, to be committed with their outputs
	"$(BIN)/python" -m nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.timeout=300 \
	  --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.clear_cell_metadata=False \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask='{("language_info","name"),("kernelspec")}' \
	  $(CHAPTERS)

# ARGS go to the command: make reproduce ARGS="--model-seeds 1".
reproduce: setup ## Download EMNIST Letters and retrain, into results-emnist-letters/
	env -u OMP_NUM_THREADS "$(BIN)/python" -m gmvae_lib.study.reproduce $(ARGS)

bench: setup ## Measure speed and memory on a quiet machine, into results/benchmarks.json
	env -u OMP_NUM_THREADS "$(BIN)/python" -m benchmarks

pages: ## Measure the built pages in Chromium, into results/pages.json
	"$(BIN)/python" tools/page_weight.py

clean: ## Remove what the targets made, .venv included
	rm -rf book/_build book/_extra/playground/playground-data.js "$(VENV)" *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
