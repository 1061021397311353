# Everything sets itself up: a virtual environment in .venv, made once and again when the
# requirements change. `HEADSTART_PYTHON=python3.12 make test` uses another Python.

HEADSTART_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench bench-scale backtest backtest-grid lint format clean setup

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## Compare strategies on embedded images and write a report
	@$(BIN)/headstart demo

# Two workers on two cores: each must keep to one thread, or torch and BLAS get in each other's way.
test: $(READY)  ## Run the tests, without the slow ones
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

test-all: $(READY)  ## Run every test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# `make bench DATA=FOLDER` also trains on a folder of photos with train/ and val/.
bench: $(READY)  ## Time headstart beside its peers and the machine's limits (half an hour, quiet)
	@test -e $(VENV)/.bench || { $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-input --constraint constraints.txt --editable '.[dev,bench]' && touch $(VENV)/.bench; }
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m bench --to bench/RESULTS.md $(DATA:%=--data %)

bench-scale: $(READY)  ## Time many trials, images and processes, here and simulated (half an hour, quiet)
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m bench.scale --to bench/SCALE.md

backtest: $(READY)  ## Replay every way of choosing on the measured grid (a minute)
	@OMP_NUM_THREADS=1 $(BIN)/python -m backtest.replay --to backtest/RESULTS.md --readme README.md

# It goes on where it stopped. DATA, FASHION and WEIGHTS name folders: see backtest/README.md.
backtest-grid: $(READY)  ## Run the grid of studies that advice is judged by (hours)
	@$(BIN)/python -m backtest grid $(DATA:%=--data %) $(FASHION:%=--fashion %) \
	  $(WEIGHTS:%=--weights %)
	@$(BIN)/python -m backtest pack

lint: $(READY)  ## Check style, types and the order of the rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)  ## Put the code into its common form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## Remove caches and built files (.venv stays: delete it by hand)
	@rm -rf build dist .make .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(READY)  ## Only make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@command -v $(HEADSTART_PYTHON) >/dev/null || { \
	  echo "$(HEADSTART_PYTHON) was not found: install Python 3.11 or newer," >&2; \
	  echo "or name yours with HEADSTART_PYTHON=/path/to/python3." >&2; exit 1; }
	@$(HEADSTART_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "headstart needs Python 3.11 or newer, and this is $$($(HEADSTART_PYTHON) --version)." >&2; \
	  echo "Name a newer one with HEADSTART_PYTHON=/path/to/python3." >&2; exit 1; }
	@$(HEADSTART_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments: its ensurepip module is missing." >&2; \
	  echo "On Debian or Ubuntu: apt install python3-venv. Then run make again." >&2; exit 1; }
	@echo "Setting up $(VENV): some minutes and, with PyTorch, several gigabytes. Once only."
	@$(HEADSTART_PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
	  --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo "Set up."
