# Every target sets up what it needs: .venv with all extras, and the system libraries for headless rendering.

VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check format build image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with every extra; does nothing when it is up to date
	@scripts/setup.sh

demo: setup ## Drive the learned world and the physics twin side by side into out/demo/
	$(VENV)/gwm demo

test: setup ## Run the fast tests
	$(VENV)/python -m pytest -n auto --dist worksteal

lint: setup ## Lint, formatting and types
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

check: lint test ## Lint, formatting, types and the fast tests: what a change must pass

format: setup ## Format the code and sort the imports
	$(VENV)/ruff check --select I --fix .
	$(VENV)/ruff format .

build: setup ## Build wheel and sdist, install each in an empty environment and smoke-test it
	rm -rf build dist
	$(VENV)/python -m build --outdir dist .
	$(VENV)/python scripts/check_distributions.py dist

image: ## Build the Docker image and ask it what it lacks, where there is a builder
	@if docker info >/dev/null 2>&1; then \
		docker build -f examples/clusters/Dockerfile -t gwm-sim --build-arg TORCH=https://download.pytorch.org/whl/cpu . && \
		docker run --rm gwm-sim; \
	else echo "image: no Docker engine here; the tests lint the file alone"; fi

clean: ## Remove what the other targets make, except .venv
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache *.egg-info
