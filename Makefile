# Needs Python 3.11, make and git; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo test check bench soak up clean requirements

demo: $(STAMP)  ## the whole loop in about a minute; `make demo ARGS=--keep` leaves it up
	$(BIN)/homeostat demo $(ARGS)

test: $(STAMP)  ## every test that is not minutes long
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

check: $(STAMP)  ## lint, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## figures beside peers; needs wrk
	$(BIN)/python -m benches $(ARGS)

soak: $(STAMP)  ## the long proofs: every kill point, ten seeds, long loads
	$(BIN)/python -m pytest -m slow $(ARGS)

up: $(STAMP)  ## control and inference planes, until Ctrl-C
	$(BIN)/homeostat up $(ARGS)

requirements: $(STAMP)  ## pin again, with hashes and without an index
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra sklearn --group dev --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o requirements/dev.txt

$(STAMP): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 is not on the PATH" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): once, about a minute." >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt 2> $(VENV)/pip.log \
	  || { cat $(VENV)/pip.log >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>> $(VENV)/pip.log \
	  || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) .homeostat .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
