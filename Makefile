# make demo         the main job on embedded defaults: corpus, FAISS index, cited summaries, scores
# make test         everything that CI checks: lint, types, layers, documentation, tests
# make lint         format, lint, types and the layers of imports: what pre-commit checks, too
# make docs         the documentation as a site in build/docs; a dead link or an unlisted page fails
# make build        wheel and sdist in dist/; the wheel runs the demo's task in a fresh environment
# make leaderboard  serve the board on 127.0.0.1
# make soak         faults and kill -9 at random instants, for minutes
# make bench        what a run costs, beside other harnesses; into docs/benchmarks.md
# make conformance  slow checks against real servers and published figures

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PORT ?= 8501
BASELINES := --model baseline:gold --model baseline:extract --model baseline:lead \
             --model baseline:random --model baseline:empty

.PHONY: demo test leaderboard bench conformance soak system lint docs build clean

demo: $(VENV)/.installed
	@$(BIN)/evalkit run fictional_trials $(BASELINES)

leaderboard: $(VENV)/.installed
	@$(BIN)/evalkit leaderboard --port $(PORT)

# Each worker has one core.
test: $(VENV)/.installed-test system lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-test
	@echo "Building the documentation into build/docs ..."
	$(BIN)/python -m sphinx -E -W --keep-going -n -q -b html -c docs . build/docs
	@echo '<meta http-equiv="refresh" content="0; url=docs/index.html">' > build/docs/index.html
	@echo "The documentation is in build/docs/index.html"

build: $(VENV)/.installed-test
	@echo "Building wheel and sdist into dist/, then running the demo's task from the wheel ..."
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tests/check_wheel.py dist

conformance: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.conformance
	@test -n "$$EVALKIT_DATA" || echo "EVALKIT_DATA is not set: the retrieval sets are left out" >&2
	test -z "$$EVALKIT_DATA" || $(BIN)/python -m benchmarks.retrieval_sets "$$EVALKIT_DATA" --write

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.clients --write
	$(BIN)/python -m benchmarks.throughput --write
	$(BIN)/python -m benchmarks.long_run --write
	$(BIN)/python -m benchmarks.cost --write
	$(BIN)/python benchmarks/startup.py

soak: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.soak

# Debian packages that tests need: Chromium for the leaderboard, WordNet for METEOR.
system:
	@bash tests/servers/system.sh

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "evalkit needs Python 3.11 or newer: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing evalkit into $(VENV) (the first time takes a few minutes) ..."
	@bash tests/servers/install.sh $(VENV)/install.log $(PIP) install --progress-bar off -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(PIP) install -q -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .evalkit .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
