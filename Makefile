# medqueue: everything a person types. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# cpu, or gpu for ONNX Runtime with its CUDA libraries; run `make clean` before changing it
RUNTIME ?= cpu
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/python -m uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate

# Of the machine that `make gpu` runs on, where its wheels are carried in parts; and where it writes what it found.
GPU_PYTHON ?= 3.12
GPU_SITE ?= /tmp/medqueue-gpu
OUT ?= .

SEED ?= $(shell shuf -i 1-999999 -n 1)

.PHONY: help install demo up test faults hostile check train models-page mutants bench gpu-libs gpu-parts gpu lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed-$(RUNTIME) ## make .venv with .venv/bin/medqueue

$(VENV)/.installed-$(RUNTIME): pyproject.toml requirements.lock requirements-gpu.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; name it with: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); the first time takes a minute or two"
	@$(PIP) install --require-hashes -r requirements.lock
ifeq ($(RUNTIME),gpu)
	@$(PIP) uninstall --yes onnxruntime
	@$(PIP) install --require-hashes -r requirements-gpu.lock
endif
	@$(PIP) install --no-deps --editable .
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: install ## start everything, score real cases, show what came of them, stop
	$(BIN)/medqueue demo --pictures demo-pictures

up: install ## run Postgres, Redis, API, a worker and the scheduler until Ctrl-C
	$(BIN)/medqueue up

test: install ## all tests, in three processes: much of a test is waiting
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --processes 3

faults: install ## every fault scenario in full (hours), write docs/reliability-report.md; SEED=N repeats a run
	$(BIN)/python -m pytest -s tests/faults tests/acceptance/test_batch_chaos.py tests/acceptance/test_chaos.py \
		tests/acceptance/test_openapi.py tests/integration/test_older_postgres.py \
		tests/integration/test_cli_stack.py::test_a_demo_that_is_interrupted_leaves_nothing_either --faults full --fault-seed $(SEED) \
		--fault-report docs/reliability-report.md

hostile: install ## every attack against a running stack (a quarter of an hour), write docs/hostile-report.md
	$(BIN)/python -m tests.hostile docs/hostile-report.md

check: install ## lint, format, types, imports, migrations
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m migrations.check

train: install ## train a bundled model again, in an environment of its own: MODEL=splice-junction DATA=folder of its data
	@test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/pip install -q -e '.[train]'
	.venv-train/bin/pip install -q --no-deps -r models/training/packages.txt
	.venv-train/bin/python -m models.training $(MODEL) $(if $(DATA),--data $(DATA))
	$(BIN)/python -m models seal --golden models/zoo/$(MODEL)

models-page: install ## write what follows from bundles: docs/bundled-models.md, its pictures, and models/zoo/digests.json
	$(BIN)/python -m models page docs

mutants: install ## change the pure parts one expression at a time: do tests notice? ROOM=models/pipelines SAMPLE=200 SEED=7; all takes hours
	$(PIP) install mutmut==3.8.1
	$(BIN)/python -P tests/mutants.py $(ROOM) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(TESTS),--tests $(TESTS)) --seed $(SEED)

bench: install ## measure against the plain way, write docs/benchmarks.md
	$(BIN)/python -m benchmarks

gpu-libs: install ## install the GPU image's wheels (2 GB) into a scratch folder and prove that only the driver is missing
	$(PIP) install uv
	$(BIN)/python -m pytest tests/gpu/test_libraries.py --gpu-libs

gpu-parts: install ## for a machine with a GPU and no network: fetch the wheels, pack them into folders .gpu/NN of 50 MiB
	$(BIN)/python -m benchmarks.gpu.wheels parts .gpu --python-version $(GPU_PYTHON)

gpu: ## on a machine with a GPU: check and measure what needs one, in 8 minutes, into OUT; GPU_PARTS=FOLDER installs without network
ifdef GPU_PARTS
	$(PYTHON) -m benchmarks.gpu.wheels install $(GPU_PARTS) $(GPU_SITE)
	PYTHONPATH=$(GPU_SITE):$(CURDIR) $(PYTHON) -m benchmarks.gpu --device cuda --out $(OUT)
else
	@$(MAKE) --no-print-directory install RUNTIME=gpu
	$(BIN)/python -m benchmarks.gpu --device cuda --out $(OUT)
endif

lock: install ## pin the dependencies anew: for work, for the CPU images, for the GPU image
	$(PIP) install uv
	$(COMPILE) --upgrade --extra cpu --extra embedded --extra chem --extra evaluate --extra dev pyproject.toml -o requirements.lock
	$(COMPILE) --extra cpu --constraint requirements.lock pyproject.toml -o requirements-cpu.lock
	$(COMPILE) --extra gpu --constraint requirements.lock pyproject.toml -o requirements-gpu.lock

clean: ## remove .venv and caches; data folders stay
	rm -rf $(VENV) .venv-train .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
