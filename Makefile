# Two commands for a fresh clone: `make demo` and `make test`. Both need only python3 with venv, and a package index.

BIN := .venv/bin

.PHONY: demo test test-slow lint docs clean

.venv/installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[eval,onnx,studio]' --group dev
	touch $@

demo: .venv/installed  ## Train on the built-in heads for five minutes, and write a report
	$(BIN)/vqvae2 demo

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## Lint, types, and all tests but the slow ones: eight minutes on two cores
	$(BIN)/pytest --numprocesses 2 --dist worksteal

test-slow: .venv/installed  ## The tests that are long by nature, such as those in a browser: a quarter of an hour
	$(BIN)/pytest -m slow --numprocesses 2 --dist loadgroup

docs: .venv/installed  ## The documentation, into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache site vqvae2-demo
