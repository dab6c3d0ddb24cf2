# Two commands a newcomer needs: `make demo` and `make test`. Each makes .venv and installs what it needs, once.
# The rest (check, format, types) is what those who change the code run before a commit.
.DEFAULT_GOAL := help
.PHONY: help demo test lint types format clean

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that runs and is a Python from 3.10 to 3.12 (mediapipe's wheels end there). 3.11 is the tested one.
FIND_PYTHON = for candidate in python3.11 python3.12 python3.10 python3 python; do \
	if $$candidate -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
		echo $$candidate; break; fi; done
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One thread per process: the tests run in two processes on two cores, and threads on top of that slow each other down.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

help:
	@echo 'make demo   install if needed, then run the whole pipeline on simulated people and attacks'
	@echo 'make test   install if needed, then lint, type-check and run every test'
	@echo 'make lint types format   the checks one by one'
	@echo 'make clean  remove .venv'

$(BIN)/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo 'flashproof needs Python 3.10, 3.11 or 3.12 (mediapipe has wheels for no other); none was found on the PATH.'; \
		echo 'Install one, e.g. `apt-get install python3.11 python3.11-venv` or `pyenv install 3.11`, and run make again.'; \
		exit 1; fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) || { echo 'The venv module is missing; on Debian: apt-get install python3-venv'; exit 1; }

$(VENV)/.installed-base: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the runtime (about a minute) ...'
	@$(PIP_INSTALL) --editable .
	@$(BIN)/python -m flashproof.system_check
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the runtime, training, export and development packages (a few minutes) ...'
	@$(PIP_INSTALL) --editable '.[train,export,dev]'
	@$(BIN)/python -m flashproof.system_check
	@touch $@ $(VENV)/.installed-base

demo: $(VENV)/.installed-base
	@mkdir -p reports
	$(BIN)/flashproof demo --report reports/demo.html

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

test: lint types
	$(ONE_THREAD) $(BIN)/pytest -n 2 --durations 10

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)
