# Everything a visitor needs: `make demo`, `make test`. The rest is for developers. CONTRIBUTING.md explains each target.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Cores that the workflow may use: a number or `all`.
CORES ?= all
# Files of tests that run at a time, each file in one process, because its tests share what they made; 0 runs all in pytest's own.
# Each with one thread of OpenMP and BLAS: threads of several processes wait for each other (OMP_NUM_THREADS has another number).
TEST_PROCESSES ?= 2
# The interpreter of .venv; an empty PYTHON is searched for: the first Python 3.11 to 3.13 that can make virtual environments.
PYTHON ?=
UV_VERSION := 0.13.9

STAMP := .venv/.installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo mini test lint bench lock clean clean-all

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@python="$(PYTHON)"; \
	check='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	if [ -z "$$python" ]; then \
	  for candidate in python3 python3.13 python3.12 python3.11 python; do \
	    if "$$candidate" -c "$$check" >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! "$$python" -c "$$check" >/dev/null 2>&1; then \
	  echo "error: $${python:-no python3 on the PATH} is not a Python 3.11 to 3.13 with the venv module" >&2; \
	  echo "do: install one (Debian and Ubuntu: python3.12 and python3.12-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 2; \
	fi; \
	if [ -d .venv ] && ! .venv/bin/python -c "$$check" >/dev/null 2>&1; then rm -rf .venv; fi; \
	if [ ! -d .venv ]; then echo "creating .venv with $$python ($$("$$python" -V))"; "$$python" -m venv .venv; fi
	.venv/bin/python -m pip install --progress-bar off --quiet -r requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## public studies -> corpus -> three models -> results/demo/report.html
	snakemake demo --cores $(CORES) --configfile demo/config.yaml

mini: $(STAMP) ## the real miniature: needs the studies of the folder DIVERSERNA_DATA
	snakemake mini --cores $(CORES) --configfile config/mini.yaml

test: $(STAMP) ## all tests, a real run of the demo workflow included (ARGS="-m 'not slow'" for the quick round)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff, mypy, snakefmt, snakemake --lint, codespell
	ruff check .
	ruff format --check .
	mypy curation txfm
	snakefmt --check Snakefile workflow
	snakemake --lint
	codespell

bench: $(STAMP) ## the speed figures of docs/benchmarks.md, measured here
	@for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

lock: $(STAMP) ## requirements.lock from pyproject.toml (UPGRADE=--upgrade moves every version)
	.venv/bin/python -m pip install --quiet "uv==$(UV_VERSION)"
	./.ci/lock $(UPGRADE)

clean: ## products and caches; downloads in sources/ and .venv stay
	rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache build dist
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

clean-all: clean ## also the downloads and .venv
	rm -rf sources .venv
