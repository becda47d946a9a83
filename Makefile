# Commands for a machine with nothing but Python 3.10 or newer (with venv) and make.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
DEMO = output/demo
DEMO_CONFIG ?= configs/demo/mask_rcnn_R_18_FPN_tuned.yaml
DEMO_PICTURES ?= 200
DEMO_SEED ?= 0
# Further "KEY VALUE" pairs for the demo's training.
OPTS ?=
# Sections and flags of the benchmark, such as BENCH="train --rounds 5"; all but quality without.
BENCH ?=
# Tests run in so many processes side by side, each on one core; "logical" is one a core, up to eight.
WORKERS ?= logical

# Rules are bash, and a failed one leaves no half-made target behind.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help install demo demo-data demo-train demo-show bench test lint format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/installed ## Make .venv with the package in it

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "error: cardamage needs Python 3.10 or newer; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps keep a second call from installing again; a change of the dependencies does.
$(VENV)/installed: setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e .
	@touch $@

$(VENV)/installed-test: setup.py $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[test]'
	@touch $@

demo: demo-show ## Draw damaged cars, train on them, evaluate, show the result

demo-data: $(VENV)/installed
	@rm -rf $(addprefix $(DEMO)/,images annotations inference predictions metrics.json log.txt last_checkpoint)
	@rm -f $(DEMO)/model_*.pth $(DEMO)/events.out.*
	$(BIN)/python datasets/make_demo.py --output $(DEMO)/images --num $(DEMO_PICTURES) --seed $(DEMO_SEED)
	$(BIN)/python tools/labelme2coco.py $(DEMO)/images --output $(DEMO) --split 0.8 0.2

demo-train: demo-data
	$(BIN)/python train_net.py --config-file $(DEMO_CONFIG) OUTPUT_DIR $(DEMO) \
		DATASETS.TRAIN "('coco:$(DEMO)/annotations/train.json@$(DEMO)/images',)" \
		DATASETS.TEST "('coco:$(DEMO)/annotations/val.json@$(DEMO)/images',)" $(OPTS)

demo-show: demo-train
	$(BIN)/python tools/demo.py --output $(DEMO)

bench: $(VENV)/installed ## Measure speed beside torchvision, and Detectron2 where it is installed
	$(BIN)/python tools/benchmark.py $(BENCH)

test: $(VENV)/installed-test ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 \
		--dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-test ## Check style, types, spelling and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports

format: $(VENV)/installed-test ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv, caches and the demo's output
	rm -rf .venv output/demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
