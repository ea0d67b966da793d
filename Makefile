PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
USABLE := $(VENV)/.usable
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-machines test-browser test-trackers docs faults lint types clean

demo: $(USABLE)
	$(BIN)/zoo demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-machines: $(INSTALLED) # the tests that depend on a machine, under the settings of others
	$(BIN)/python tools/machines.py

test-browser: $(INSTALLED) # needs Chromium with its driver: apt-get install chromium chromium-driver
	@echo "installing what drives a browser: seconds"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest tests/browser

test-trackers: $(INSTALLED) # Weights & Biases and MLflow themselves: 0.7 GB, and a minute or more to install
	@echo "installing Weights & Biases and MLflow: a minute or more"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt wandb mlflow
	PYTHONPATH=plugins/zoo-trackers $(BIN)/python -m pytest plugins/zoo-trackers

docs: $(INSTALLED) # the manual, in site/index.html
	@echo "installing what makes pages: a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@echo "making the manual, with what each part costs: minutes"
	$(BIN)/mkdocs build --quiet

faults: $(INSTALLED) # runs that come to harm; Linux, and root for some
	$(BIN)/python tools/faults.py --write

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(USABLE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing zoo and what it needs in $(VENV), PyTorch among it: minutes"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[testing]'
	touch $@

$(INSTALLED): $(USABLE)
	@echo "installing what tests, lint and types need besides: a minute"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
