# Everything a contributor does. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VLLM_VENV ?= .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed

# Large blocks stay with the process: handing them back and forth costs a quarter of a CPU's time.
STARTER_MEMORY := MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_MMAP_THRESHOLD_=100000000000

MEND := $(STARTER_MEMORY) OMP_NUM_THREADS=1 $(BIN)/python -m videollama2.training.starter.mend \
	--world starter-assets/world.npz

GROW := $(STARTER_MEMORY) OMP_NUM_THREADS=2 $(BIN)/python -m videollama2.training.starter.grow \
	--world starter-assets/larger.npz

.PHONY: help install demo test test-mixins test-transformers test-ray test-vllm venv-vllm test-faults test-faults-short fuzz test-browser check format starter starter-larger starter-report starter-clips starter-card findings docs bench bench-gpu clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP)  ## make the environment in .venv

demo: $(STAMP)  ## ask the bundled starter about an example clip
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## install and pass the tests, in WORKERS=2 processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-mixins: $(STAMP)  ## transformers' own tests of a model and a processor, fetched with pip
	$(BIN)/python scripts/fetch_transformers_tests.py --out .transformers-tests
	$(BIN)/python -m pytest tests/mixins --transformers-tests .transformers-tests

TRANSFORMERS ?= 5.17.0 5.19.0 5.24.0
test-transformers: $(STAMP)  ## model, processor and parity on other releases, TRANSFORMERS="5.17.0 5.19.0 5.24.0"
	@set -e; for version in $(TRANSFORMERS); do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target .transformers/$$version transformers==$$version; \
		echo "transformers $$version"; \
		PYTHONPATH=.transformers/$$version OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/parity tests/model tests/processing tests/checkpoints; \
	done

FAULTS := $(BIN)/python scripts/run_faults.py
test-faults: $(STAMP)  ## 10,000 broken files, 10 minutes of overload, 11,000 requests; ffmpeg helps to judge
	$(FAULTS) files --count 10000 --out benchmarks/results/faults.json
	$(FAULTS) overload --seconds 600 --out benchmarks/results/faults.json
	$(FAULTS) growth --requests 10000 --out benchmarks/results/faults.json

test-faults-short: $(STAMP)  ## 500 broken files and 30 s of overload
	$(FAULTS) files --count 500
	$(FAULTS) overload --seconds 30

SECONDS ?= 60
fuzz: $(STAMP)  ## each parser by coverage-guided fuzzing, SECONDS=60 each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python scripts/run_fuzz.py --seconds $(SECONDS)

# vLLM for the CPU asks for torchvision and its like, which it does without: nothing is resolved
# here, every package is named. Bytecode is written for what is imported alone.
$(VLLM_STAMP): pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r constraints-vllm.txt
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

venv-vllm: $(VLLM_STAMP)  ## make the environment of vLLM for the CPU, in .venv-vllm

test-vllm: $(VLLM_STAMP)  ## our checkpoints in vLLM, in its own environment
	OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest tests/engines --timeout 900

test-ray: $(STAMP)  ## bulk work and training on a local Ray cluster of two CPUs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ray --ray

CHROMIUM ?= chromium

test-browser: $(STAMP)  ## the page in headless Chromium, which is installed where it is missing
	@command -v $(CHROMIUM) >/dev/null || { \
		test "$$(id -u)" = 0 && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	} || { echo "Chromium is missing: sudo apt-get install chromium, or CHROMIUM=PATH" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt -r requirements-page.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt playwright
	$(BIN)/python -m pytest tests/browser --chromium "$$(command -v $(CHROMIUM))"

check: $(STAMP)  ## ruff and pyright strict
	$(BIN)/ruff check src tests examples scripts benchmarks
	$(BIN)/ruff format --check src tests examples scripts benchmarks
	$(BIN)/pyright

starter-assets/world.npz: | $(STAMP)
	$(BIN)/python scripts/fetch_scene_assets.py

starter-assets/larger.npz: | $(STAMP)
	$(BIN)/python scripts/fetch_scene_assets.py --larger

starter: $(STAMP) starter-assets/world.npz starter-assets/larger.npz  ## build the starter from nothing: pictures and notes, training (resumable), weights
	$(STARTER_MEMORY) $(BIN)/python -m videollama2.training.starter.train \
		--world starter-assets/world.npz --run starter-run --out starter-run/taught
	$(MEND) --begin starter-run/taught --run starter-run/mending --out starter-run/mended
	$(MEND) --begin starter-run/mended --run starter-run/order --out starter-run/ordered --plan order --seed 1 \
		--steps 450 --horizon 470 --cooling-steps 300 --learning-rate 5e-4 --settling-steps 60
	$(MEND) --begin starter-run/ordered --run starter-run/looking-up --out starter-run/looked-up --plan "looking up" --seed 2 \
		--questions 5 --steps 400 --horizon 420 --cooling-steps 250 --settling-steps 40
	$(MEND) --begin starter-run/looked-up --run starter-run/at-last --out starter-run/small-world --plan "at last" --seed 3 \
		--questions 6 --steps 0 --warmup-steps 10 --learning-rate 4e-4 --settling-steps 130 --settling-learning-rate 4e-4
	$(GROW) --begin starter-run/small-world --run starter-run/growing --out starter-run/grown
	$(GROW) --begin starter-run/grown --run starter-run/study --scenes-of starter-run/growing --out starter-run/studied \
		--round 1 --eye-steps 0 --ear-steps 0 --align-steps 1000 --steps 1800 --settling-steps 250 --learning-rate 6e-4 --word-space-weight 1
	$(GROW) --begin starter-run/studied --run starter-run/naming --scenes-of starter-run/growing --out starter-run/named \
		--round 2 --eye-steps 0 --ear-steps 0 --align-steps 0 --steps 800 --settling-steps 130 --learning-rate 5e-4
	$(GROW) --begin starter-run/named --run starter-run/long --scenes-of starter-run/growing --out src/videollama2/starter \
		--round 3 --eye-steps 0 --ear-steps 0 --align-steps 300 --steps 5000 --settling-steps 250 --learning-rate 6e-4
	$(MAKE) starter-card

starter-card: $(STAMP) starter-assets/larger.npz starter-report  ## measure the starter and write the tables of its card, about half an hour
	$(BIN)/python -m videollama2.training.starter.report --world starter-assets/larger.npz --steps 16 \
		--json benchmarks/results/starter_world.json
	$(BIN)/python benchmarks/starter_clips.py
	$(BIN)/python benchmarks/starter_turns.py
	$(BIN)/python benchmarks/starter_named.py --world starter-assets/larger.npz --scenes 256
	$(BIN)/python benchmarks/robustness.py
	$(BIN)/python benchmarks/starter_card.py

LEG_MINUTES ?= 9
LARGER := --world starter-assets/larger.npz --minutes $(LEG_MINUTES) --workers 8

starter-larger: $(STAMP) starter-assets/larger.npz  ## a starter of ten million from nothing, for a GPU: say it again until all is done
	test -f starter-run/larger/taught/model.safetensors || $(BIN)/python -m videollama2.training.starter.train \
		$(LARGER) --size medium --batch-size 128 --pretrain-steps 1500 --joint-steps 4000 \
		--joint-horizon 5000 --practice-steps 1500 --run starter-run/larger --out starter-run/larger/taught
	test ! -f starter-run/larger/taught/model.safetensors || $(BIN)/python -m videollama2.training.starter.mend \
		$(LARGER) --batch-size 128 --steps 1500 --horizon 1500 --cooling-steps 600 --begin starter-run/larger/taught \
		--run starter-run/larger/mending --out starter-run/larger/starter

starter-report: $(STAMP)  ## accuracy of the starter on held-out clips, by question type and stream
	$(BIN)/videollama2 eval scenes --model starter --data tests/starter/clips --out outputs/starter-report

starter-clips: $(STAMP) starter-assets/larger.npz  ## render the held-out clips and their questions again
	$(BIN)/python scripts/make_starter_clips.py --world starter-assets/larger.npz --out tests/starter/clips --count 60

FINDINGS := $(BIN)/python benchmarks/findings
findings: $(STAMP) starter-assets/world.npz starter-assets/larger.npz  ## the paper's findings again in the made world: resumable, about four hours on two cores
	$(FINDINGS)/soundtrack.py --world starter-assets/larger.npz
	$(FINDINGS)/frames.py
	$(FINDINGS)/connectors.py --world starter-assets/world.npz
	$(FINDINGS)/joint_stage.py --world starter-assets/world.npz
	$(FINDINGS)/frame_numbers.py --world starter-assets/world.npz

docs: $(STAMP)  ## draw the architecture picture from the code's own shapes
	$(BIN)/python scripts/draw_architecture.py

bench: $(STAMP)  ## memory that loading takes, time that reading takes
	$(BIN)/python benchmarks/load_memory.py
	$(BIN)/python benchmarks/read_video.py

bench-gpu: $(STAMP)  ## every benchmark at the released size, on the GPU (on a CPU: BENCH=--small)
	$(BIN)/python benchmarks/all.py $(BENCH)

format: $(STAMP)  ## let ruff arrange and mend what it can
	$(BIN)/ruff check --fix src tests examples scripts benchmarks
	$(BIN)/ruff format src tests examples scripts benchmarks

clean:  ## remove what was built
	rm -rf $(VENV) $(VLLM_VENV) fuzz-corpus fuzz-finds .transformers-tests build dist .pytest_cache .ruff_cache
