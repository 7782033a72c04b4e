# `make demo` and `make test` set everything up in .venv on the first call; later calls install nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types wheel install pins clean

demo: install
	$(BIN)/pinembed demo --out demo --overwrite

test: install
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# One file that installs anywhere: pip install dist/pinembed-*.whl
wheel: install
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .

install: $(STAMP)

# Content decides, not time stamps: git gives every fresh file the time of the clone.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if ! cat pyproject.toml constraints.txt | cmp -s - $(STAMP); then \
		echo "installing into $(VENV) (some 6 GB on the first call, a few minutes)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[vlm,fast,report,map,cloud,ray,mcp,provenance,dev]' \
		&& cat pyproject.toml constraints.txt > $(STAMP); \
	else touch $(STAMP); fi

# Write constraints.txt anew from what .venv holds, after an upgrade by hand.
pins: install
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf demo build dist .mypy_cache .ruff_cache .pytest_cache
