# Needs Python (3.11 to 3.13) and make; everything else goes into an environment of its own.
PYTHON ?= python3
VENV ?= .venv
# A requirement to test against, such as "jax==0.10.0 jaxlib==0.10.0".
WITH ?=

RUN = $(VENV)/bin/python -W error -m

.PHONY: demo test slow lint types doctest tables golden bench accuracy peers fuzz compiled limits wheel clean

demo: $(VENV)/examples  ## Trains a classifier on Fashion-MNIST; results go to runs/fashion_mnist.
	$(VENV)/bin/python examples/fashion_mnist.py

test: $(VENV)/dev  ## The tests: about four minutes on two cores.
	$(RUN) pytest -n auto tests

slow: $(VENV)/dev  ## The dear tests: devices, lowering for GPU and TPU, ten epochs on the real images.
	$(RUN) pytest -n auto --slow -m slow tests

doctest: $(VENV)/dev
	$(RUN) pytest -n auto --doctest-modules jaxloss

lint: $(VENV)/dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(VENV)/dev $(VENV)/golden  ## The oracles are typed too, and need what they call.
	$(VENV)/bin/mypy

tables: $(VENV)/dev  ## Writes the list of losses in README.md, and all their arguments to docs/losses.md.
	$(VENV)/bin/python tests/make_tables.py

golden: $(VENV)/golden  ## Computes the golden files anew with PyTorch, and fails where they differ.
	$(VENV)/bin/python tests/make_golden.py --check

bench: $(VENV)/bench  ## jaxloss beside optax, PyTorch and others, and the page about it: 17 minutes on two cores.
	PYTHONPATH=examples $(VENV)/bin/python -m benchmarks
	$(VENV)/bin/python -m benchmarks.report

accuracy: $(VENV)/accuracy  ## Every loss beside its definition and other libraries, and the page about it.
	PYTHONPATH=tests $(VENV)/bin/python -m benchmarks.accuracy
	$(VENV)/bin/python -m benchmarks.accuracy.report

fuzz: $(VENV)/dev  ## Any finite inputs to every loss, for five minutes, and the counts on that page.
	PYTHONPATH=tests $(VENV)/bin/python -m benchmarks.accuracy.fuzz

peers: $(VENV)/peers  ## The peers' own tests, run on jaxloss, and their counts on the page about accuracy.
	$(VENV)/bin/python -m benchmarks.peer_tests

compiled: $(VENV)/compiled  ## What the compilers for an H100 and a TPU make of every loss; it needs neither chip.
	JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 PYTHONPATH=tests $(VENV)/bin/python -m benchmarks.compiled

limits: $(VENV)/compiled $(VENV)/dev  ## What these compilers may make of the losses at most: two minutes.
	JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 ALLOW_MULTIPLE_LIBTPU_LOAD=1 PYTHONPATH=.:tests \
	    $(VENV)/bin/python -m pytest -n auto benchmarks/compiled

wheel: $(VENV)/dev  ## Builds the wheel and imports it in a clean environment.
	rm -rf dist $(VENV)-wheel
	$(VENV)/bin/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/pip install --quiet dist/*.whl
	cd $(VENV)-wheel && bin/python -W error -c "import jaxloss; print('jaxloss', jaxloss.__version__)"

clean:
	rm -rf .venv* dist runs

# One environment; a stamp for each extra that is in it.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip

$(VENV)/%: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable '.[$*]' $(WITH)
	touch $@
