# Two commands on a fresh machine: `make quickstart` does the main job, `make test` checks it.
PYTHON ?= python3
RUN := runs/quickstart-$(shell date +%Y%m%d-%H%M%S)
CLI := .venv/bin/python cli.py
PIP := -m pip install --quiet --disable-pip-version-check
# Two workers, each of one thread; shared folders are built once.
PYTEST := .venv/bin/python -m pytest -n 2 --dist worksteal

.PHONY: install quickstart test test-all test-serving test-lowest lint lock docs clean

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --constraint requirements.lock --editable '.[demo]'
	touch $@

install: .venv/installed

.venv/installed-dev: .venv/installed
	.venv/bin/python $(PIP) --constraint requirements.lock --editable '.[dev]'
	touch $@

# The main job on faces drawn by code: nothing to request, nothing to download. Without squares hidden
# in training (--cutout), any hidden square would change the answers, and maps would show nothing else.
quickstart: .venv/installed
	$(CLI) build-data toon_faces/standard
	$(CLI) fit --dataset toon_faces --recipe paper --epochs 20 --cutout 0.5 --run-dir $(RUN)
	$(CLI) evaluate $(RUN)
	$(CLI) explain $(RUN) --window 12 --filling blur
	$(CLI) export $(RUN)
	@echo
	@echo "The run, its numbers and pictures:  $(RUN)"
	@echo "  all on one page:                  $(RUN)/report.html"
	@echo "  where the model looks:            $(RUN)/saliency.png"
	@echo "  training curves:                  .venv/bin/tensorboard --logdir runs"
	@echo "The model for TensorFlow Serving:   exports/toon_faces"
	@echo "Next, with the weights of real faces that come with the package:"
	@echo "      .venv/bin/python cli.py predict YOUR_PHOTO.jpg"
	@echo "      .venv/bin/python cli.py demo"

lint: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# What a contributor runs. PYTEST_ARGS narrows it: make test PYTEST_ARGS=tests/layers
test: lint
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

# What CI runs: the slow tests too, and the coverage in the last line.
test-all: lint
	$(PYTEST) --cov=keras_deep_emotion --cov=tfds_builders --cov-report=term:skip-covered $(PYTEST_ARGS)

# What any server of an export must answer, asked of one that runs: a container, or `cli.py serve`.
# MODEL is its name to clients.
test-serving: MODEL ?= toon_faces
test-serving: .venv/installed-dev
	@test -n "$(URL)" || { echo "Name the server: make test-serving URL=http://localhost:8501"; exit 2; }
	SERVING_URL=$(URL) SERVING_MODEL=$(MODEL) .venv/bin/python -m pytest tests/serving/test_serving_contract.py $(PYTEST_ARGS)

# The quick tests, the quickstart, verify and predict at the lowest versions that pyproject.toml allows,
# in an environment of their own.
# Warnings are no errors there: old libraries warn of the newest ones below them.
test-lowest: .venv/installed-dev
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-lowest
	.venv/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/python -m pytest -n 2 --dist worksteal -W default -m "not slow" $(PYTEST_ARGS)
	$(MAKE) quickstart CLI='.venv-lowest/bin/python cli.py'
	.venv-lowest/bin/python cli.py verify exports/toon_faces/$$(ls exports/toon_faces | sort -n | tail -1)
	.venv-lowest/bin/python cli.py predict --faces none docs/toon_faces.png

# Pin the newest versions that pyproject.toml allows.
lock: .venv/installed-dev
	.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev \
		--no-annotate --no-header --output-file requirements.lock pyproject.toml

docs: .venv/installed-dev
	.venv/bin/python docs/draw_architecture.py
	.venv/bin/python docs/draw_saliency.py
	.venv/bin/python docs/draw_attention.py
	PYTHONPATH=tests .venv/bin/python docs/draw_demo.py

clean:
	rm -rf .venv .venv-lowest build *.egg-info
