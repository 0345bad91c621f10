# `make demo` and `make test` do all their own set-up from a clean clone. People and CI use the same targets.
PYTHON ?= python3
PYTHON39 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.9.*/bin/python) $(shell command -v python3.9))
PYTHON310 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python) $(shell command -v python3.10))
SHELL := /bin/bash
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt
DEV := .venvs/dev
DEMO := .venvs/demo
FARM := .venvs/farm
INPUTS := pyproject.toml constraints.txt

# Containers often set it. The tests start some hundred processes: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-39 test-nuke check lint types wheel bench farm-test scale clean

demo: $(DEMO)/.done  ## a synthetic shot through a real server, measured against the truth: demo_out/
	$(DEMO)/bin/void demo --out demo_out

# Half as many again as there are cores: many tests wait for a server.
PROCESSES := $(shell echo $$(( $$(nproc 2>/dev/null || echo 4) * 3 / 2 )))

test: $(DEV)/.done  ## all fast tests, several processes; a file's tests share their servers and models
	$(DEV)/bin/python -m pytest -m "not slow" --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

SLOW := tests  # or some of them, as CI does
test-slow: $(DEV)/.done  ## kills at many points, long soaks, real shots at full size
	$(DEV)/bin/python -m pytest -m slow $(SLOW) --ignore tests/farm --numprocesses auto --dist loadfile --no-loadscope-reorder

test-39:  ## the base install and the client's tests on Python 3.9 (Nuke 14), where there is one
	@if [ -z "$(PYTHON39)" ]; then echo "Python 3.9 not found: the base install was not tested on it"; exit 0; fi; \
	set -e; rm -rf build .venvs/py39; $(PYTHON39) -m venv .venvs/py39; \
	.venvs/py39/bin/pip install $(PIP_FLAGS) .; \
	.venvs/py39/bin/void --version; \
	for command in submit status cancel fetch nuke; do .venvs/py39/bin/void $$command --help > /dev/null; done; \
	.venvs/py39/bin/pip install $(PIP_FLAGS) pytest; \
	.venvs/py39/bin/python -m pytest -q tests/client tests/test_packaging.py tests/nuke/test_install_place.py tests/nuke/test_install_targets.py

# Nuke 14 has Python 3.9, Nuke 15 has 3.10; that of Nuke 16 and 17, 3.11, is in `make test`. Servers run from .venvs/dev.
# Nukes differ in when they tell of changed knobs: tests/nuke_standin/README.md.
NUKE_TESTS := tests/nuke/plugin tests/nuke/test_gizmo.py

test-nuke: $(DEV)/.done  ## the plugin's tests on the Pythons of Nuke 14 and 15, where they are; those that are not found are named
	@set -e; \
	for each in "3.9:$(PYTHON39)" "3.10:$(PYTHON310)"; do \
	    version=$${each%%:*}; python=$${each#*:}; venv=.venvs/nuke$${version/./}; \
	    if [ -z "$$python" ]; then echo "Python $$version not found: the plugin was not tested on it"; continue; fi; \
	    if [ ! -e $$venv/.done ] || [ constraints.txt -nt $$venv/.done ]; then \
	        "$$python" -m venv $$venv; \
	        $$venv/bin/pip install $(PIP_FLAGS) pyzmq msgpack ruamel.yaml pytest pytest-xdist numpy OpenEXR; \
	        touch $$venv/.done; \
	    fi; \
	    echo "Python $$version:"; \
	    case $$version in 3.9) heard="open panel";; *) heard=always;; esac; \
	    FAKE_NUKE_KNOB_CHANGED="$$heard" PYTHONPATH=nuke_plugin:server:. VOID_TEST_SERVER_PYTHON=$(abspath $(DEV))/bin/python \
	        $$venv/bin/python -m pytest -q -m "not slow" --numprocesses auto --dist loadfile $(NUKE_TESTS); \
	done

lint: $(DEV)/.done
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/.done
	$(DEV)/bin/mypy

wheel: $(DEV)/.done  ## build the wheel, install it in a fresh venv outside the checkout, run the demo from it
	set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	rm -rf build; $(DEV)/bin/pip wheel $(PIP_FLAGS) --no-deps --wheel-dir "$$work/dist" .; \
	$(PYTHON) -m venv "$$work/venv"; \
	"$$work/venv/bin/pip" install $(PIP_FLAGS) "$$(ls $$work/dist/*.whl)[server,plates]"; \
	cd "$$work"; venv/bin/void demo --out "$$work/demo" --size 320x180 --length 8

check: lint types test test-nuke test-39 wheel  ## what CI runs

bench: $(DEV)/.done  ## speed, as ratios against named baselines
	$(DEV)/bin/python tests/benchmarks/transport.py
	$(DEV)/bin/python tests/benchmarks/plates_io.py
	$(DEV)/bin/python tests/benchmarks/warped_noise.py
	$(DEV)/bin/python tests/benchmarks/diffusion.py

farm-test: $(DEV)/.done $(FARM)/.done  ## VOID nodes through a real farm engine: OpenJD, the Nuke adaptor, Nuke's stand-in
	VOID_FARM_VENV=$(CURDIR)/$(FARM) $(DEV)/bin/python -m pytest tests/farm --numprocesses auto --dist worksteal

scale:  ## a studio's night on paper: the tables and pictures of docs/scale.md
	$(PYTHON) -m venv .venvs/scale
	.venvs/scale/bin/pip install $(PIP_FLAGS) simpy matplotlib
	.venvs/scale/bin/python tests/benchmarks/scale.py --pictures docs/images $(SCALE)

clean:
	rm -rf .venvs demo_out build dist *.egg-info

$(DEV)/.done: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install $(PIP_FLAGS) --editable '.[server,engine,reasoning,dev]'
	# Meta's SAM 2: built against the torch that is there; it names torchvision, which must never be here, and works without.
	$(DEV)/bin/pip install $(PIP_FLAGS) hydra-core iopath tqdm
	SAM2_BUILD_CUDA=0 $(DEV)/bin/pip install $(PIP_FLAGS) --no-build-isolation --no-deps sam2==1.1.0
	touch $@

$(DEMO)/.done: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install $(PIP_FLAGS) --editable '.[server,plates]'
	touch $@

# A render machine: no VOID in it.
$(FARM)/.done: $(INPUTS)
	$(PYTHON) -m venv $(FARM)
	$(FARM)/bin/pip install $(PIP_FLAGS) openjd-cli deadline-cloud-for-nuke OpenEXR numpy opencolorio
	touch $@
