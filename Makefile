# Two commands do all the set-up, in .venv: `make demo` (see a boat cheat) and `make test` (is everything sound?).
# They need Python >= 3.11, make and git. pip's own settings hold: see the README for installing torch without GPU libraries.

PYTHON ?= python3
BIN := .venv/bin
FOLDERS := envs reward_models agents experiments
PYTEST := $(BIN)/pytest --numprocesses=auto --maxprocesses=4
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-slow test-extras types links lint pretrained clean

demo: .venv/installed
	$(BIN)/proxygap gap lagoon --seeds 2 --out runs/demo
	@echo "Open the report: $(CURDIR)/runs/demo/report.html"

test: types lint
	$(PYTEST)

test-slow: .venv/dev
	$(PYTEST) -m slow

test-extras: .venv/dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,worlds]'
	$(PYTEST) -m extras

types: links
	$(BIN)/pyright

# Type checkers don't follow an editable install's mapping of folders to package names, so they are shown one made of links.
links: .venv/dev
	@mkdir -p .typing/proxygap
	@ln -sfn $(addprefix ../../,$(FOLDERS) $(wildcard src/proxygap/*.py) src/proxygap/py.typed) .typing/proxygap/

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Trains the agents anew that ship with the package, so that the first look costs seconds (see CONTRIBUTING.md).
pretrained: .venv/installed
	$(BIN)/proxygap train lagoon --seed 0 --out runs/pretrained-turbos --resume --export agents/pretrained/Lagoon-turbos.safetensors
	$(BIN)/proxygap train lagoon --reward true --seed 0 --out runs/pretrained-true --resume --export agents/pretrained/Lagoon-true.safetensors

clean:
	rm -rf .venv .typing build *.egg-info

# Stamps: an install is done again only when what it depends on has changed.
.venv/dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("proxygap needs Python 3.11 or newer; name yours: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable .
	@touch $@
