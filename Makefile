# One command each: `make demo`, `make test`. Each makes the environment that it needs, once.
# Choose a Python with `make PYTHON=python3.12 ...`; it only counts while the environment is not there yet.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.PHONY: help demo notebooks test test-programs test-slow test-backends test-jax test-torch fuzz bench lint format clean

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(SUPPORTED)' >/dev/null 2>&1 </dev/null && echo $$p && break; done)
# The version that was tested. A plain `torch` works too; on Linux it brings several GB of CUDA with it.
TORCH ?= torch==2.13.0
WORKERS ?= 2
# Each worker gets one half of the files, so that what a file prepares is prepared once.
PYTEST := python -m pytest -q -n $(WORKERS) --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PYTHONUNBUFFERED := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

help:
	@echo "make demo           compose (or take MUSIC=folder), train, generate: a song in demo/"
	echo "                    MUSIC= MINUTES=2 RECIPE=music (or paper) UNITS=256,256 OUT=demo"
	echo "make test           lint and the default suite"
	echo "make test-programs  demo, notebooks, benchmarks, a killed run: whole programs, a minute"
	echo "make test-slow      the long tests, two minutes of each fuzz among them"
	echo "make test-backends  what does not depend on the backend, under JAX and torch"
	echo "make fuzz           damaged sounds, corpora, models and run folders, always others; MINUTES=10 of each, TARGETS=models"
	echo "make notebooks      run the notebooks in examples/ but the first, and keep their outputs"
	echo "make bench          measure speed, into docs/benchmarks.md; BACKENDS=all FULL=1 for all there is"
	echo "make lint format    look at the style; mend it"
	echo "make clean          remove what was built, environments included; never songs or models"

# --- environments -----------------------------------------------------------------------------------------------------
# A stamp is written last, so an install that failed or was interrupted is done again.

# librosa compiles parts of itself when it is first imported, for about 20 s. Done here, it is done once, and two
# processes of the tests do not do it at the same time, which numba's cache does not survive (numba issue 10128).
compile_librosa := -c 'import librosa.feature, librosa.onset'

define venv
	if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUPPORTED)' </dev/null; then
		echo "gruvlike needs Python 3.11, 3.12 or 3.13. Found: $$($(or $(PYTHON),python3) --version 2>&1 | head -1 || true)." \
			"Install one and name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2
		exit 1
	fi
	[ -x $(1)/bin/pip ] || $(PYTHON) -m venv $(1)
endef

.venv/.installed: setup.py
	@$(call venv,.venv)
	rm -f .venv/.installed .venv/.installed-test
	echo "Installing gruvlike and TensorFlow into .venv (once, some minutes) ..."
	.venv/bin/pip install -q -e '.[av]' </dev/null
	.venv/bin/python $(compile_librosa) </dev/null
	touch $@

.venv/.installed-test: .venv/.installed
	@echo "Installing the test tools into .venv (once) ..."
	.venv/bin/pip install -q -e '.[av,test]' </dev/null
	touch $@

.venv-%/.installed: setup.py .ci/requirements.py
	@$(call venv,.venv-$*)
	rm -f $@
	echo "Installing gruvlike and $* into .venv-$* (once, some minutes) ..."
	.venv-$*/bin/python .ci/requirements.py test > .venv-$*/requirements.txt
	.venv-$*/bin/pip install -q -r .venv-$*/requirements.txt $(if $(filter torch,$*),'$(TORCH)',$*) </dev/null
	.venv-$*/bin/pip install -q --no-deps -e . </dev/null
	.venv-$*/bin/python $(compile_librosa) </dev/null
	touch $@

# --- what one asks for ------------------------------------------------------------------------------------------------

# Passed on through the environment, so that any folder name will do.
export MUSIC MINUTES RECIPE UNITS OUT

demo: .venv/.installed
	@.venv/bin/python -m gruvlike.demo $${MUSIC:+--music "$$MUSIC"} $${MINUTES:+--minutes "$$MINUTES"} \
		$${RECIPE:+--recipe "$$RECIPE"} $${UNITS:+--units "$$UNITS"} $${OUT:+--out "$$OUT"} </dev/null

lint: .venv/.installed-test
	@.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/mypy --strict --follow-imports=silent --cache-dir .mypy_cache/strict tests/consumer.py

format: .venv/.installed-test
	@.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

test: lint
	@.venv/bin/$(PYTEST) </dev/null

test-programs: .venv/.installed-test
	@.venv/bin/$(PYTEST) -m 'programs and not slow and not gpu' </dev/null

test-slow: .venv/.installed-test
	@.venv/bin/python -m pytest -q -m 'slow and not gpu' </dev/null

test-backends: test-jax test-torch

test-jax test-torch: test-%: .venv-%/.installed
	@echo "The part that does not depend on the backend, under $*:"
	KERAS_BACKEND=$* .venv-$*/bin/$(PYTEST) -m 'backends and not slow and not gpu' </dev/null

export TARGETS

# Goes on from the number where the last call stopped. Files that were found stay in build/fuzz/.
fuzz: .venv/.installed-test
	@.venv/bin/python tests/_fuzz.py $$TARGETS --minutes "$${MINUTES:-10}" </dev/null

notebooks: .venv/.installed-test
	@.venv/bin/python examples/execute.py </dev/null

export BACKENDS FULL

# Other backends than TensorFlow that are asked for: BACKENDS=all, BACKENDS=tensorflow,jax
comma := ,
others := $(filter jax torch,$(if $(filter all,$(BACKENDS)),jax torch,$(subst $(comma), ,$(BACKENDS))))

bench: .venv/.installed $(others:%=.venv-%/.installed)
	@.venv/bin/python benchmarks/run.py </dev/null

clean:
	@rm -rf .venv .venv-jax .venv-torch build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
