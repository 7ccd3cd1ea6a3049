# The environment lies in .venv, what the tests download in ~/.cache/mxseal-lab (root: /var/cache/mxseal-lab).
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
LOCK_TOOL := .lock-tool
FOLDERS := src lab tests $(sort $(patsubst %/,%,$(dir $(wildcard bench/*.py demo/*.py))))
WORKERS ?= 2
SECONDS ?= 60
TARGET ?= all
KEEP ?=
ROUNDS ?= 300
SEED ?=
export PYTHONPATH := .

.DEFAULT_GOAL := help
.PHONY: help env demo test fuzz check bench strangers crash lock lab screenshots clean

help:
	@echo 'make demo      start a gateway and a real mail server, send mail through both over TLS, show the log'
	@echo '               (KEEP=1: stay up until Ctrl-C)'
	@echo 'make test      all checks and all tests, with everything that they need'
	@echo 'make fuzz      fuzz by hand: SECONDS=600 for each target, TARGET=smtp-server for one (tests/fuzz)'
	@echo 'make check     lint, formatting, types, import contracts'
	@echo 'make bench     the benchmarks'
	@echo 'make strangers attacks in full size, and what is left for those who behave: ONLY=--only=silent for one'
	@echo 'make crash     kill -9 under load, again and again: ROUNDS=300, SEED=... for the same once more'
	@echo 'make env       the environment in .venv (the others do this by themselves)'
	@echo 'make screenshots  the main pages of the web interface, both languages, light and dark, in docs/pictures'
	@echo 'make lab       fetch the mail and name servers that tests and demo use, without installing them'
	@echo 'make lock      renew requirements/*.txt from pyproject.toml'
	@echo 'make clean     remove the environment and what was built'

env: $(READY)
	@:

$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'make env: there is no $(PYTHON): apt install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make env: $$($(PYTHON) --version) is too old, MXSeal needs Python 3.11 or newer:" \
	    'apt install python3 python3-venv, or name one: make env PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make env: $(PYTHON) can't make environments: apt install python3-venv" >&2; exit 1; }
	@echo 'env: making $(VENV) ...'
	@$(PYTHON) -m venv $(VENV)
	@echo 'env: installing the locked dependencies (requirements/dev.txt, hashes checked) ...'
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r requirements/dev.txt || { \
	  echo "make env: pip could not install the dependencies (its words are above):" \
	    'see that PyPI or your mirror can be reached, then run make env again' >&2; exit 1; }
	@echo 'env: installing mxseal itself, editable ...'
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
	@echo 'env: ready'

demo: env
	@KEEP='$(KEEP)' $(RUN) -m demo

lab: env
	@echo 'lab: fetching the servers that the tests run against ...'
	@$(RUN) -m lab.debs
	@command -v openssl >/dev/null || { echo 'make lab: the tests run openssl: apt install openssl' >&2; exit 1; }

screenshots: lab
	@$(RUN) -m tests.web.screenshots

check: env
	@echo 'check: lint (ruff check)'
	@$(RUN) -m ruff check $(FOLDERS)
	@echo 'check: formatting (ruff format --check)'
	@$(RUN) -m ruff format --check $(FOLDERS)
	@echo 'check: types (mypy --strict)'
	@$(RUN) -m mypy $(FOLDERS)
	@echo 'check: import contracts (lint-imports)'
	@$(VENV)/bin/lint-imports

# Compiled first: the tests start hundreds of processes, also where Python is told to write no bytecode.
# Root has all servers of the laboratory, so as root none may be left out; others skip what needs root.
test: check lab
	@$(RUN) -m compileall -q $(FOLDERS)
	@echo 'test: pytest, $(WORKERS) processes'
	@MXSEAL_LAB=$(if $(filter 0,$(shell id -u)),required) $(RUN) -m pytest -n $(WORKERS) --dist loadfile

# What breaks is kept in tests/fuzz/corpus, and is a test from then on.
fuzz: env
	@$(RUN) -m tests.fuzz --target '$(TARGET)' --seconds '$(SECONDS)'

bench: env
	@$(RUN) -m bench

strangers: env
	@$(RUN) -m bench.strangers $(ONLY)

crash: env
	@ROUNDS='$(ROUNDS)' SEED='$(SEED)' $(RUN) -m lab.crash

lock:
	@echo 'lock: resolving pyproject.toml into requirements/*.txt ...'
	@$(PYTHON) -m venv $(LOCK_TOOL)
	@$(LOCK_TOOL)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOCK_TOOL)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --upgrade pyproject.toml -o requirements/runtime.txt
	@$(LOCK_TOOL)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --upgrade --extra cluster --group dev pyproject.toml -o requirements/dev.txt
	@rm -rf $(LOCK_TOOL)
	@if grep -nE '://|--(extra-)?index' requirements/*.txt; then \
	  echo 'make lock: the lines above name a package registry, they must not' >&2; exit 1; fi
	@echo 'lock: done; make env installs the result'

clean:
	@echo 'clean: removing $(VENV), caches and build results'
	@rm -rf $(VENV) $(LOCK_TOOL) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist .coverage
	@find src lab tests -name __pycache__ -type d -prune -exec rm -rf {} +
