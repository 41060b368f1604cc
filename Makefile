# Feedloop: `make demo` and `make test` set up everything they need (Python 3.11; Java 17 and Maven for the broker).
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Bytecode is kept, but in one folder beside the tree. Without it each process compiles what it imports anew (uv installs without compiling): the
# engine's server took 24 s of CPU to import and not 13, a training run 15 and not 8.5.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/build/pycache

.PHONY: help setup demo up test check fuzz bench bench-ingest bench-model bench-classifier bench-learning bench-encoder bench-scaling clean
help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(VENV)/.installed: requirements/laptop.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Feedloop needs Python 3.11 or 3.12, and {sys.executable} is {v.major}.{v.minor}: make PYTHON=python3.11 …")'
	@echo "Installing the pinned packages into $(VENV) (about 6 GB, half a minute to a few minutes) …"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -q uv
	@$(VENV)/bin/uv pip install -q --python $(PY) --no-deps -r requirements/laptop.txt
	@$(VENV)/bin/uv pip install -q --python $(PY) --no-deps -e .
	@touch $@

build/encoder/manifest.json: $(VENV)/.installed services/trainer/runs/export_encoder.py
	@echo "Exporting the sentence encoder to ONNX …"
	@$(PY) -m services.trainer.runs.export_encoder --out build/encoder
	@touch $@

setup: $(VENV)/.installed build/encoder/manifest.json ## install everything, export the encoder

demo: setup ## the whole loop on the sample, in under 10 minutes
	@$(PY) -m services demo

up: setup ## the same, on your own feeds and mailboxes (feedloop.yaml), until Ctrl-C
	@$(PY) -m services up

test: setup ## everything, in two processes: unit, contract, loop, real Kafka, real vLLM, the page in a browser
	@$(PY) -m pytest -q -n 2

check: setup ## lint, types, import rules, deployment files
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check -q . && $(VENV)/bin/mypy --no-error-summary && $(VENV)/bin/lint-imports && $(PY) -m deploy.check

bench: setup ## tables of speed on this machine
	@$(PY) -m tests.bench

fuzz: setup ## 100,000 mutations of feeds, mails and the rest: each ends as documents or is refused by name (half an hour)
	@$(PY) -m tests.fuzz

bench-ingest: setup ## reading beside feedparser and email alone, a large mbox, 10,000 sources, into docs/ingest.md (5 minutes)
	@$(PY) -m tests.bench.ingest

bench-model: setup ## how good the bundled model is, through the real engine, into docs/model.md (10 minutes)
	@$(PY) -m tests.bench.model

bench-classifier: setup ## how good the verdicts are, on sets of others, hand-written messages and noise, into docs/classifier.md (30 minutes)
	@$(PY) -m tests.bench.classifier --size 0.5 --llm --tuned tweeteval_emotion,dreaddit,ag_news,mr_sentiment --start deploy/model/heads/wellbeing

bench-learning: setup ## how many corrections teach the model a new convention, into docs/model.md and docs/learning-curve.png (an hour)
	@$(PY) -m tests.bench.learning

bench-encoder: setup ## the sentence encoder against sentence-transformers, into docs/model.md (2 minutes)
	@$(PY) -m tests.bench.encoder

bench-scaling: setup ## what a larger bundled model and a longer training bring, into docs/model.md and docs/scaling.png (40 minutes, all cores)
	@$(PY) -m tests.bench.scaling

clean: ## remove what was built here (not the state folder)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
