# `make mnist` and `make test` need nothing but this checkout and a Python: their first call
# makes the virtual environment, a later one finds it (tools/install.sh).

# Virtual environment; several can live side by side.
VENV ?= .venv
# Interpreter; empty is the newest one from 3.11 on that runs.
PYTHON ?=
# Further extras of setup.cfg, such as cuda13.
EXTRAS =
# Passed on to the experiment or to pytest.
ARGS =

comma = ,
install = @sh tools/install.sh "$(VENV)" $(1)$(EXTRAS:%=$(comma)%) "$(PYTHON)"
python = "$(VENV)/bin/python"

.PHONY: help mnist test test-slow test-full test-times coverage lint install-experiments install-test clean

help:
	@echo 'make mnist      cluster MNIST; ARGS="--seeds 5" passes arguments on, EXTRAS=cuda13 takes a GPU'
	@echo 'make test       ruff, mypy and the tests; ARGS=tests/test_data.py runs some of the tests'
	@echo 'make test-slow  the end-to-end tests of minutes, compiled with all optimizations'
	@echo 'make test-full  all tests, compiled with all optimizations'
	@echo 'make test-times writes the slowest tests into tests/README.md'
	@echo 'make coverage   the share of the maths packages that their tests run'
	@echo 'make lint       ruff and mypy alone'
	@echo 'make clean      delete the environment, caches and build outputs; runs/ stays'
	@echo 'All take PYTHON=python3.12 (else the newest that runs) and VENV=.venv312 (else .venv).'

mnist: install-experiments
	$(python) -m experiments.mnist_dec $(ARGS)

test: lint
	$(python) -m pytest -m "not slow" -n auto --dist loadfile $(ARGS)

test-slow: install-test
	DEC_JAX_FULL_TESTS=1 $(python) -m pytest -m slow $(ARGS)

test-full: lint
	DEC_JAX_FULL_TESTS=1 $(python) -m pytest -n auto --dist loadfile $(ARGS)

test-times: install-test
	$(python) -m pytest -m "not slow" -n auto --dist loadfile --junitxml .pytest_cache/times.xml $(ARGS)
	$(python) tools/test_times.py .pytest_cache/times.xml

coverage: install-test
	$(python) -m pytest -m "not slow" -n auto --dist loadfile --cov --cov-report=term-missing tests/clustering tests/evaluation tests/objectives tests/training $(ARGS)

lint: install-test
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy

install-experiments:
	$(call install,experiments)

install-test:
	$(call install,experiments$(comma)test)

clean:
	test ! -d "$(VENV)/.dec_jax" || rm -rf "$(VENV)"
	rm -rf build dist site .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find */ -name __pycache__ -prune -exec rm -rf {} +
