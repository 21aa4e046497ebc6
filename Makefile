# The set-up and the main jobs. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000
OUT    ?= runs/demo
JOBS   ?= 2
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.recgan-installed

.DEFAULT_GOAL := help
.PHONY: help install demo serve test test-slow lint

help:
	@echo "make install     create $(VENV) and install recgan in it"
	@echo "make demo        the whole line on the built-in catalogue, into $(OUT)"
	@echo "make serve       serve what the demo made (PORT=$(PORT))"
	@echo "make test        lint, types and tests, $(JOBS) files at a time (JOBS=4 for more)"
	@echo "make test-slow   the tests that take minutes"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("recgan needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

install: $(STAMP)

demo: install
	$(BIN)/recgan demo --out $(OUT)

serve: install
	@test -d $(OUT)/catalogue || { echo "nothing to serve yet: run 'make demo' first"; exit 2; }
	$(BIN)/recgan serve --data $(OUT)/catalogue --recommender $(OUT)/recommender --gan $(OUT)/gan --port $(PORT) \
		$(foreach part,directions inverter gaps blindtest,$(if $(wildcard $(OUT)/$(part)),--$(part) $(OUT)/$(part)))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: install
	$(BIN)/pytest -m slow
