# Two commands on a fresh machine: `make quickstart` does the main job, `make test` checks it all.
PYTHON ?= python3
RUN := runs/quickstart-$(shell date +%Y%m%d-%H%M%S)
CLI := .venv/bin/python cli.py

.PHONY: quickstart test test-serving lint clean

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: .venv/installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# The main job on faces drawn by code: nothing to request, nothing to download.
quickstart: .venv/installed
	$(CLI) build-data toon_faces/paper
	$(CLI) fit --dataset toon_faces --recipe paper --epochs 20 --run-dir $(RUN)
	$(CLI) evaluate $(RUN)
	$(CLI) explain $(RUN)
	$(CLI) export $(RUN)
	@echo
	@echo "The run, its numbers and pictures:  $(RUN)"
	@echo "  all on one page:                  $(RUN)/report.html"
	@echo "  where the model looks:            $(RUN)/saliency.png"
	@echo "  training curves:                  .venv/bin/tensorboard --logdir runs"
	@echo "The model for TensorFlow Serving:   exports/toon_faces"
	@echo "Next: .venv/bin/python cli.py predict --model $(RUN) --faces none YOUR_FACE.png"
	@echo "      .venv/bin/python cli.py build-data fer2013 --source DIR_OR_ARCHIVE"
	@echo "      .venv/bin/python cli.py fit --dataset fer2013 --recipe paper --epochs 3"

lint: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# PYTEST_ARGS narrows it: make test PYTEST_ARGS='-m "not slow"'
test: lint
	.venv/bin/python -m pytest $(PYTEST_ARGS)

# What any server of an export must answer, asked of one that runs: a container, or `cli.py serve`.
# MODEL is its name to clients.
test-serving: MODEL ?= toon_faces
test-serving: .venv/installed-dev
	@test -n "$(URL)" || { echo "Name the server: make test-serving URL=http://localhost:8501"; exit 2; }
	SERVING_URL=$(URL) SERVING_MODEL=$(MODEL) .venv/bin/python -m pytest tests/serving/test_serving_contract.py $(PYTEST_ARGS)

clean:
	rm -rf .venv build *.egg-info
