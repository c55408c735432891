# `make demo` and `make test` do all set-up themselves, in .venv, and repeat none of it until the files
# that it depends on change.  Needed: Python 3.11 or newer; with a C++ compiler the kernels are compiled.
#
# No build isolation: the tools that build the kernel library then come from constraints.txt as well,
# are fetched once, and a rebuild works offline.

PYTHON ?=
VENV := .venv
PIP_INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NATIVE := CMakeLists.txt $(shell find bayes_sbn/kernels/csrc -type f)
WORKERS ?= 4

# One thread per process: the tests run side by side, and their numbers do not depend on threads.
export OMP_NUM_THREADS := 1

.DELETE_ON_ERROR:
.PHONY: demo test test-slow sanitize lint docs wheel

demo: $(VENV)/.installed
	$(VENV)/bin/bayes-sbn demo

test: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses=$(WORKERS)

test-slow: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -m slow

# The kernels of every instruction set that this processor has, under the sanitizers of the compiler.
sanitize: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -m slow tests/packaging/test_sanitizers.py

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/.docs
	$(VENV)/bin/mkdocs build --strict

wheel: $(VENV)/.installed
	BAYES_SBN_REQUIRE_NATIVE=1 $(VENV)/bin/python -m build --wheel --no-isolation

# ---- set-up -------------------------------------------------------------------------------------

$(VENV)/.created:
	@for python in $(PYTHON) python3.11 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "creating $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "bayes_sbn needs Python 3.11 or newer, and there is none on the path as python3.11," >&2; \
	echo "python3 or python. Install it, or name it: make PYTHON=/path/to/python3.11 test" >&2; \
	exit 1

$(VENV)/.tools: $(VENV)/.created constraints.txt
	@echo "installing the build tools"
	@$(PIP_INSTALL) scikit-build-core cmake ninja
	@touch $@

# Where there is a compiler, a library that does not compile is an error, not a slow installation.
$(VENV)/.installed: $(VENV)/.tools pyproject.toml constraints.txt $(NATIVE)
	@echo "building the kernels and installing bayes_sbn with its requirements"
	@if command -v $${CXX:-c++} >/dev/null; then export BAYES_SBN_REQUIRE_NATIVE=1; \
	  else echo "no C++ compiler: bayes_sbn will run its slow reference implementation"; fi; \
	$(PIP_INSTALL) --no-build-isolation -e '.[test]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	@echo "installing the documentation tools"
	@$(PIP_INSTALL) --no-build-isolation -e '.[docs]'
	@touch $@
