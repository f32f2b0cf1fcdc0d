# Every target makes .venv itself; the only things needed are Python >= 3.11 and make.
PYTHON ?= python3
PROFILE ?= quick
# versions that are installed; the workflow sets it to the lowest and to the newest ones
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
INSTALLED := .venv/.installed
RUNNABLE := .venv/.runnable
define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "sk-eqsae needs Python >= 3.11; name one: make PYTHON=python3.12"; exit 1; }
endef
INTEROP := .venv-interop/bin
INTEROP_INSTALLED := .venv-interop/.installed
SITE := 'import site; print(site.getsitepackages()[0])'
# modules are compiled when they are imported: most of them never are
INSTALL := pip install --quiet --no-compile --constraint $(CONSTRAINTS)

.PHONY: help reproduce real test interop lint docs links dist clean
help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --editable '.[test,lint,browser,docs,dist]'
	@touch $@ $(RUNNABLE)

# what runs the main job, without tools for tests and style
$(RUNNABLE): pyproject.toml $(CONSTRAINTS)
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --editable .
	@touch $@

reproduce: $(RUNNABLE)  ## run the main job; PROFILE=smoke|quick|full, report in reports/PROFILE
	$(BIN)/python -m benchmarks.paper --profile $(PROFILE)

real: $(RUNNABLE)  ## the study of real networks in miniature, on one of our own
	$(BIN)/python -m benchmarks.real --quick --seeds 1 --parts small law --out reports/quick

test: $(INSTALLED)  ## run the tests and the doctests
	SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

# An environment of its own, for these libraries bring a hundred others; what is in .venv
# it takes from there. One of them asks for torchvision, which nothing here uses, and
# which breaks all of them where it was built for another torch.
$(INTEROP_INSTALLED): $(INSTALLED)
	$(PYTHON) -m venv .venv-interop
	$(BIN)/python -c $(SITE) > "$$($(INTEROP)/python -c $(SITE))/of-venv.pth"
	$(INTEROP)/$(INSTALL) --editable '.[interop]'
	$(INTEROP)/pip uninstall --quiet --yes torchvision
	@touch $@

interop: $(INTEROP_INSTALLED)  ## test exports against SAELens and dictionary_learning
	OMP_NUM_THREADS=1 $(INTEROP)/python -m pytest tests/test_persistence_peers.py

lint: $(INSTALLED)  ## style, spelling, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

docs: $(INSTALLED)  ## the site in docs/_build, every example run; DOCS_OFFLINE=1 without a network
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

links: $(INSTALLED)  ## look up every outside link of the pages; needs a network
	$(BIN)/sphinx-build -W -b linkcheck --keep-going -q docs docs/_build/links

dist: $(INSTALLED)  ## build wheel and sdist, check them, and use them where nothing else is
	rm -rf dist build .venv-dist
	$(BIN)/python -m build >/dev/null
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/$(INSTALL) dist/*.whl
	.venv-dist/bin/python -I tests/installed.py
	.venv-dist/bin/$(INSTALL) --force-reinstall --no-deps dist/*.tar.gz
	.venv-dist/bin/python -I tests/installed.py

clean:  ## remove the environment, caches and reports
	rm -rf .venv .venv-interop .venv-dist build dist reports docs/_build docs/auto_examples docs/generated .mypy_cache .pytest_cache .ruff_cache *.egg-info
