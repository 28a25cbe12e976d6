# make run    set up and start everything (gex up)
# make test   set up and run every check
# make check  lint, types, layers
# make bench  measure every figure
# make chaos  what `make test` does in a minute, longer

PYTHON ?= python3
# The fastest build of its version, unless one is named.
FASTEST = $(if $(filter file,$(origin PYTHON)),$$($(PYTHON) tools/fastest_python.py || echo $(PYTHON)),$(PYTHON))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
RUN_ARGS ?=
SEED ?= 1
SEEDS ?= 1
SECONDS ?= 60
# Most tests of whole platforms wait for time to pass; files of tests run side by side.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile

.PHONY: run test check bench setup setup-test unit integration chaos lock clean

run: setup
	$(BIN)/gex up $(RUN_ARGS)

test: setup-test
	tools/prepare-tests
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

check: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: setup-test
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/unit

integration: setup-test
	tools/prepare-tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/integration

# A minute of everything going wrong. By hand, longer: make chaos SEEDS=20 SECONDS=60
chaos: setup-test
	$(BIN)/python tests/chaos/run.py --seed $(SEED) --seeds $(SEEDS) --seconds $(SECONDS)

bench: setup-test
	tools/prepare-tests
	$(BIN)/gex bench

setup: $(VENV)/.run
setup-test: $(VENV)/.test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make run PYTHON=python3.12" >&2; exit 1; }
	@echo "making $(VENV) ..."
	@$(FASTEST) -m venv $(VENV) || { echo "the venv module is missing; install it (Debian: python3-venv)" >&2; exit 1; }

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing packages (once; about a minute) ..."
	@$(PIP) --requirement requirements/run.txt
	@$(PIP) --no-deps --editable .
	@echo "compiling the kernels (once; some ten seconds) ..."
	@$(BIN)/python -c 'from common.feeds.tradestation import rows; from common.quant import kernels; kernels.load(); rows.load()'
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.run
	@echo "installing what only tests need ..."
	@$(PIP) --requirement requirements/test.txt
	@touch $@

# Pin every dependency anew (needs uv).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-header pyproject.toml -o requirements/run.txt --upgrade
	uv pip compile --quiet --universal --python-version 3.11 --no-header pyproject.toml --group test --group bench -c requirements/run.txt -o requirements/test.txt --upgrade

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
