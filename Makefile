# Everything here works on a machine that has Python 3.11 to 3.13 and make.

PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(if $(shell $(p) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13)' 2>/dev/null && echo yes),$(p))))
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help app test lint bench fuzz train lock install-locked clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

app: $(VENV)/.run  ## install what is needed and open the page
	$(BIN)/streamlit run streamlit_app.py

test: $(VENV)/.dev  ## install what is needed and run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/.dev  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.dev  ## measure speed and memory against the baselines (some 15 minutes; results in out/benchmarks.json)
	$(BIN)/python -m tests.benchmarks

train: $(VENV)/.dev  ## train the network on MANIFEST=…/manifest.csv
	$(BIN)/python -m detector train --manifest $(MANIFEST) --resume

fuzz: $(VENV)/.dev  ## read RUNS changed files a format (100000) in search of one that breaks a decoder
	$(BIN)/python -m tests.fuzz --runs $(or $(RUNS),100000)

lock: $(BIN)/python  ## write requirements.lock anew: every version and its hashes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(BIN)/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock

install-locked: $(BIN)/python  ## install exactly what requirements.lock names
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $(VENV)/.run

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.run
