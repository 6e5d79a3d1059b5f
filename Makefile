# Two targets do everything on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test field quick explore check mutations install clean

demo: $(STAMP)
	$(BIN)/geoseg run workflows/austin_buildings.yaml

# Tests of one group run one after the other in one process: tests/conftest.py says which belong together.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadgroup

test: $(STAMP)
	$(PYTEST) --durations=20

# Two hundred random ways to bring one picture; `make test` tries 25 (tests/flow/test_situations.py).
field: $(STAMP)
	GEOSEG_SITUATIONS=200 $(BIN)/python -m pytest tests/flow/test_situations.py --hypothesis-profile=explore

# For a change on the way: what takes no seconds.
quick: $(STAMP)
	$(PYTEST) -m "not slow"

# Laws of any input, on many inputs that no run before has tried.
explore: $(STAMP)
	$(PYTEST) -m hypothesis --hypothesis-profile=explore

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --durations=20

# Do the tests find what may go wrong in a network? Each change of tests/models/mutations.txt, in a copy: minutes.
mutations: $(STAMP)
	$(BIN)/python tests/models/mutations.py

install: $(STAMP)

# One environment for the demonstration, the tests and CI, from the project's own pinned files.
$(STAMP): pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[dev]'
	$(BIN)/geoseg doctor --compile
	touch $(STAMP)

clean:
	rm -rf $(VENV) build runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
