# One command each: `make help`. Needs Python 3.10 or later; everything else goes into .venv*/.

PYTHON  ?= python3
JOBS    ?= 2
TORCH   ?= torch==2.13.0
TEST_ENV ?= .venv-test
PROMPT  ?= Once upon a time
BOOKS   ?= ../shared/data/books
FUZZ_MINUTES ?= 1.5
FUZZ_TARGETS ?= safetensors safetensors_header torch_zip torch_stream torch_pickle plain_pickle \
	nanogpt llmc tensorflow_index gguf adapter_config adapter config manifest generation_config tokenizer graph \
	prompt options

# the lower bounds of pyproject.toml, for Python 3.11
OLDEST  := 'click==8.2.*' 'huggingface-hub==0.30.*' 'numpy==1.26.*' 'onnx==1.21.*' 'onnxruntime==1.24.*' 'pyarrow==17.*' 'rich==13.0.*' 'safetensors==0.5.*' 'tokenizers==0.21.*' 'zstandard==0.22.*'

ROOMS   := src batches cli evaluate export graph inside native quant runtime
KERNELS := pyproject.toml setup.py scripts/build_backend.py native/compile.py $(wildcard native/src/*)
SOURCES := $(KERNELS) $(shell find $(ROOMS) -type f ! -name '*.pyc' ! -path 'native/*kernels.*' ! -name built.json 2>/dev/null)
PIP     := -m pip --disable-pip-version-check --quiet
PYTEST  := -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo dev test test-all coverage site oldest interop interop-peers interop-inside fuzz lint format types docs bench train-story train-solvers train-smoke story-smoke train-stepmath stepmath-smoke train-game24 game24-smoke bundle wheels sanitize clean

help: ## Show these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

demo: .venv/installed ## Install into .venv and tell a story
	@printf '$$ gpt2edge generate "%s"\n' '$(PROMPT)'
	@.venv/bin/gpt2edge generate "$(PROMPT)"

test: $(TEST_ENV)/installed ## Run the quick tests (of another Python: PYTHON=python3.10 TEST_ENV=.venv-test-3.10)
	$(TEST_ENV)/bin/python $(PYTEST) -m "not interop and not slow"

test-all: $(TEST_ENV)/installed ## Run the slow tests, too
	$(TEST_ENV)/bin/python $(PYTEST) -m "not interop"

oldest: .venv-oldest/installed ## Run the tests on the oldest versions that pyproject.toml allows
	.venv-oldest/bin/python $(PYTEST) -m "not interop"

interop: .venv-interop/installed ## Compare with PyTorch and transformers
	OMP_NUM_THREADS=1 .venv-interop/bin/python $(PYTEST) -m interop

interop-inside: .venv-lens/installed ## Compare the values inside with TransformerLens
	.venv-lens/bin/python -c 'import transformer_lens'
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-lens/bin/python -m pytest -m interop tests/inside

fuzz: .venv-fuzz/installed ## Feed every parser bad bytes, FUZZ_MINUTES each (Python 3.11 to 3.13)
	set -e; for target in $(FUZZ_TARGETS); do \
		.venv-fuzz/bin/python -m tests.hostile.fuzz $$target --minutes $(FUZZ_MINUTES); done

interop-peers: .venv-peers/installed .venv-openvino/installed ## Compare with Optimum, onnxruntime-genai and OpenVINO
	.venv-peers/bin/python -c 'import onnxruntime_genai, optimum.onnxruntime'
	OMP_NUM_THREADS=1 .venv-peers/bin/python -m pytest -m interop tests/export/test_peers.py
	.venv-openvino/bin/python -c 'import onnxruntime as o; o.get_available_providers().index("OpenVINOExecutionProvider")'
	.venv-openvino/bin/python -m pytest -m interop tests/runtime/ort/test_openvino.py

lint: .venv-lint/tools ## Check style
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .

format: .venv-lint/tools ## Apply style
	.venv-lint/bin/ruff check --fix .
	.venv-lint/bin/ruff format .

dev: .venv-test/installed ## Make links/, where editors and type checkers find the package
	.venv-test/bin/python -m scripts.link_tree

types: .venv-lint/installed ## Check types: the package, tests, examples, benchmarks, tasks, training
	.venv-lint/bin/python -m scripts.link_tree
	.venv-lint/bin/mypy -p gpt2edge
	.venv-lint/bin/mypy tests examples benchmarks tasks training scripts

coverage: .venv-test/installed ## Run the rooms' tests and show which lines they reach in this process
	.venv-test/bin/python $(PYTEST) -m "not interop" --cov --cov-report=term:skip-covered \
		--ignore=tests/benchmarks --ignore=tests/examples --ignore=tests/training

docs: .venv-test/installed ## Write docs/cli.md from --help, docs/python.md from docstrings
	.venv-test/bin/python -m gpt2edge.cli.reference > docs/cli.md
	.venv-test/bin/python -m scripts.python_reference > docs/python.md

site: .venv-docs/installed ## Build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

bench: .venv-test/installed ## Measure speed, beside the peers that are built
	.venv-test/bin/python -m benchmarks.speed.latency

train-story: .venv-interop/installed ## Train the bundled storyteller again (an hour and more)
	.venv-interop/bin/python -m training.story.train --data '$(BOOKS)' --out runs/story --minutes 95

train-solvers: train-stepmath train-game24 ## Train the models that solve problems again (two hours)

train-stepmath: .venv-interop/installed ## Those of stepmath alone (an hour and a half)
	.venv-interop/bin/python -m training.solvers.stepmath --task stepmath --out runs/stepmath

train-game24: .venv-interop/installed ## Train the Game of 24 models again (three quarters of an hour)
	.venv-interop/bin/python -m training.solvers.game24 --out runs/game24

train-smoke: story-smoke stepmath-smoke game24-smoke ## Train everything at a tiny size, two minutes each

story-smoke: .venv-interop/installed
	.venv-interop/bin/python -m training.story.train --data '$(BOOKS)' --out runs/smoke --smoke

stepmath-smoke: .venv-interop/installed
	.venv-interop/bin/python -m training.solvers.stepmath --task stepmath --out runs/smoke-stepmath --smoke

game24-smoke: .venv-interop/installed
	.venv-interop/bin/python -m training.solvers.game24 --out runs/game24-smoke --smoke

bundle: .venv-test/installed ## Rebuild the bundled model from training/models/storyteller
	.venv-test/bin/python -m training.story.bundle

wheels: .venv-wheels/installed ## Build the wheels of every platform into dist/, by zig
	rm -rf build/lib
	.venv-wheels/bin/python -m scripts.wheels --out dist

sanitize: .venv-test/installed ## Run the kernels' tests under ASan and UBSan (gcc or clang, Linux)
	.venv-test/bin/python native/compile.py --out build/sanitize --sanitize address,undefined
	GPT2EDGE_LIBRARY=build/sanitize LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so)" \
		ASAN_OPTIONS=detect_leaks=0 .venv-test/bin/python -m pytest -q -p no:cacheprovider tests/native

clean: ## Remove environments and caches
	rm -rf .venv .venv-* build dist links ./*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made once; its stamp says for which pyproject.toml or sources it was filled.

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "gpt2edge needs Python 3.10 or later: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $*

.venv/installed: .venv/bin/python $(SOURCES)
	rm -rf build
	.venv/bin/python $(PIP) install .
	@touch $@

$(addsuffix /installed,$(sort .venv-test $(TEST_ENV))): %/installed: %/bin/python $(KERNELS)
	$(call upgrade-pip,$*)
	$(call install-groups,$*,--editable '.[all]',test)
	@touch $@

.venv-oldest/installed: .venv-oldest/bin/python $(KERNELS)
	$(call upgrade-pip,.venv-oldest)
	$(call install-groups,.venv-oldest,--editable '.[all]' $(OLDEST),test)
	@touch $@

.venv-interop/installed: .venv-interop/bin/python $(KERNELS)
	$(call upgrade-pip,.venv-interop)
	.venv-interop/bin/python $(PIP) install '$(TORCH)' || .venv-interop/bin/python $(PIP) install torch
	$(call install-groups,.venv-interop,--editable '.[all]',test interop)
	@touch $@

.venv-fuzz/installed: .venv-fuzz/bin/python $(KERNELS)
	$(call upgrade-pip,.venv-fuzz)
	$(call install-groups,.venv-fuzz,--editable '.[all]',test fuzz)
	@touch $@

.venv-peers/installed: .venv-peers/bin/python $(KERNELS)
	$(call upgrade-pip,.venv-peers)
	.venv-peers/bin/python $(PIP) install '$(TORCH)' || .venv-peers/bin/python $(PIP) install torch
	$(call install-groups,.venv-peers,--editable '.[optimum]',test peers)
	@touch $@

.venv-lens/installed: .venv-lens/bin/python pyproject.toml
	$(call upgrade-pip,.venv-lens)
	.venv-lens/bin/python $(PIP) install '$(TORCH)' || .venv-lens/bin/python $(PIP) install torch
	$(call install-groups,.venv-lens,--editable '.[all]',test lens)
	@touch $@

# onnxruntime-openvino takes onnxruntime's place: the two share one module
.venv-openvino/installed: .venv-openvino/bin/python $(KERNELS)
	$(call upgrade-pip,.venv-openvino)
	$(call install-groups,.venv-openvino,,test openvino)
	.venv-openvino/bin/python $(PIP) install --no-deps --editable .
	@touch $@

.venv-wheels/installed: .venv-wheels/bin/python pyproject.toml
	$(call upgrade-pip,.venv-wheels)
	.venv-wheels/bin/python $(PIP) install 'setuptools>=77' 'ziglang>=0.13'
	@touch $@

.venv-docs/installed: .venv-docs/bin/python pyproject.toml
	$(call upgrade-pip,.venv-docs)
	$(call install-groups,.venv-docs,,docs)
	@touch $@

.venv-lint/tools: .venv-lint/bin/python pyproject.toml
	$(call upgrade-pip,.venv-lint)
	$(call install-groups,.venv-lint,,lint)
	@touch $@

.venv-lint/installed: .venv-lint/tools pyproject.toml
	$(call install-groups,.venv-lint,--editable '.[all]',lint test)
	@touch $@

# Dependency groups need pip 25.1; where pip cannot be upgraded, their packages are read here.
define upgrade-pip
	-$(1)/bin/python $(PIP) install --upgrade 'pip>=25.1'
endef
define install-groups
	if $(1)/bin/python -m pip install --help | grep -q -- '--group'; then \
		$(1)/bin/python $(PIP) install $(2) $(addprefix --group ,$(3)); \
	else \
		$(1)/bin/python -c 'from pip._vendor import tomli; \
			groups = tomli.load(open("pyproject.toml", "rb"))["dependency-groups"]; \
			print(*(line for name in "$(3)".split() for line in groups[name]), sep="\n")' \
			> $(1)/requirements.txt && \
		$(1)/bin/python $(PIP) install $(2) --requirement $(1)/requirements.txt; \
	fi
endef
