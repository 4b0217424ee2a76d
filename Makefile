# Everything here works on a machine that has Python 3.11 to 3.13 and make.

PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(if $(shell $(p) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13)' 2>/dev/null && echo yes),$(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
REQUIREMENTS := requirements.txt requirements-serve.txt requirements-train.txt
# A process of the tests for a core: threads of its own would only wait for those of the others.
WORKERS ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help app demo-pacs test test-systems lint bench fuzz train audit lock install-locked clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

app: $(VENV)/.run  ## install what serving needs and open the page
	$(BIN)/python -m detector app

demo-pacs: $(VENV)/.dev  ## a hospital in small: Orthanc, the node, the page; sends an X-ray and shows the report's arrival
	$(BIN)/python -m scripts.demo_pacs

test: $(VENV)/.dev  ## install what testing needs and run the tests, in two processes (9 minutes)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-systems: $(VENV)/.dev  ## test with other systems and whole sessions: the wheel, Orthanc, Ray (12 minutes)
	$(BIN)/python -m pytest -m systems -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev  ## measure speed and memory against the baselines (20 minutes; results in out/benchmarks.json)
	$(BIN)/python -m tests.benchmarks

train: $(VENV)/.dev  ## train the network on MANIFEST=…/manifest.csv
	$(BIN)/python -m detector train --manifest $(MANIFEST) --resume

fuzz: $(VENV)/.dev  ## read RUNS changed files a format (100000) in search of one that breaks a decoder
	$(BIN)/python -m tests.fuzz --runs $(or $(RUNS),100000)

audit: $(VENV)/.dev  ## look for known vulnerabilities; write licences and a bill of materials to out/audit
	$(BIN)/python -m scripts.audit_packages --out out/audit

lock: $(BIN)/python  ## write the lock files anew: every version and its hashes
	$(PIP) 'uv>=0.9,<1'
	$(BIN)/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock
	$(BIN)/uv pip compile requirements-serve.txt --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --constraint requirements.lock --output-file requirements-serve.lock

install-locked: $(BIN)/python  ## install exactly what requirements.lock names
	$(PIP) --require-hashes -r requirements.lock
	touch $(VENV)/.run

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements-serve.txt | $(BIN)/python
	$(PIP) -r requirements-serve.txt
	touch $@

$(VENV)/.dev: $(REQUIREMENTS) requirements-dev.txt | $(BIN)/python
	$(PIP) -r requirements-dev.txt
	touch $@ $(VENV)/.run
