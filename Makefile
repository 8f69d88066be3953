# make setup   .venv with everything          make report  train on built-in data, write runs/quickstart/report.html
# make test    the fast suite (two workers)   make test-slow  everything, minutes long
# make lint    style and types                make bench      speed, memory and scale beside others: a table, bench.json
# make endure  faults, fuzz and load, TIMES (40) as often as in the suite: a table of what was tried and what came of it
# make audit   asks PyPI for known weaknesses of the pinned packages      make licences   writes theirs into constraints.txt
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
TRAIN := $(BIN)/msaviz train --data synthetic --resume --out runs/quickstart

.PHONY: setup report test test-slow lint bench endure audit licences clean
TIMES ?= 40

setup: .venv/.ready

# torch goes in first and by itself: an open range would let the resolver pull gigabytes of another build.
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[notebooks,search,text,app,export,cluster,test]"
	touch $@

# Both models train at once, one thread each (two threads fight over a busy machine); the baseline's progress goes to a log.
report: setup
	mkdir -p runs/quickstart
	@$(TRAIN)/early_fusion early_fusion >runs/quickstart/early_fusion.log 2>&1 & baseline=$$!; \
	echo "training early_fusion in the background, derl here:"; \
	$(TRAIN)/derl derl && wait $$baseline || { cat runs/quickstart/early_fusion.log; exit 1; }
	OMP_NUM_THREADS=2 $(BIN)/msaviz report runs/quickstart/derl runs/quickstart/early_fusion --out runs/quickstart/report.html

test: setup
	$(BIN)/python -m pytest -n 2

test-slow: setup
	$(BIN)/python -m pytest -n 2 -m "slow or not slow" --timeout 1800

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/run.py --json bench.json

# The table is printed also where something broke.
endure: setup
	rm -f endurance.jsonl
	MSAVIZ_TIMES=$(TIMES) MSAVIZ_TALLY=$(CURDIR)/endurance.jsonl $(BIN)/python -m pytest -n 2 -m "slow or not slow" --timeout 7200 \
		tests/hostile tests/faults tests/numerics tests/app/test_notebooks_load.py; \
	status=$$?; $(BIN)/python tests/endurance.py endurance.jsonl; exit $$status

audit:
	@$(PYTHON) tests/audit.py

licences: setup
	PYTHONPATH=tests $(BIN)/python tests/licences.py

clean:
	rm -rf .venv build dist *.egg-info
