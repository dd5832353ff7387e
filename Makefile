.PHONY: run test install lint docs clean

PYTHON := python3
BIN := .venv/bin

# From nothing to a trained operator: data, training, evaluation, prediction, pictures in outputs/quickstart.
run: install
	$(BIN)/thalweg generate experiment=quickstart
	$(BIN)/thalweg train experiment=quickstart resume=true
	$(BIN)/thalweg evaluate run=outputs/quickstart
	$(BIN)/thalweg predict run=outputs/quickstart
	$(BIN)/thalweg plot run=outputs/quickstart

test: install lint docs
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The manual, in docs/build.
docs: install
	$(BIN)/sphinx-build -W --keep-going -q docs docs/build

# Installs Firedrake and thalweg into .venv; does nothing when that is done.
install:
	@$(PYTHON) scripts/install.py

clean:
	rm -rf outputs datasets build dist docs/build *.egg-info
