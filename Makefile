.PHONY: help install demo test test-servers test-superuser mutants lint docs notebooks site bench clean

PYTHON ?= python3
BIN := .venv/bin

help: ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

install: .venv/installed ## Create .venv with everything: the worker, the exporter, the tests

# Constraints keep torch at a version whose CPU build is at hand; see CONTRIBUTING.md.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ehrdb needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -e '.[demo,export,meds,baselines,formats,metrics,ray,report,page,mcp,docs,dev]'
	touch $@

demo: install ## The whole story on synthetic patients, in an embedded database under .ehrdb
	EHRDB_HOME=$(or $(EHRDB_HOME),$(CURDIR)/.ehrdb) $(BIN)/ehrdb demo

# The tests start commands: each would compile ehrdb anew where Python was told to keep nothing.
test: install ## Run all tests, on all cores
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist worksteal

mutants: install ## Put known faults in one at a time: the tests must notice each
	$(BIN)/python -m tests.mutants.run

test-servers: install ## The tests on PostgreSQL 15 to 18, those that can be had (see tests/servers/matrix.py)
	$(BIN)/python -m tests.servers.matrix -q -n auto --dist worksteal

test-superuser: install ## The tests once more, the databases owned by a superuser
	$(BIN)/pytest --superuser -n auto --dist worksteal

lint: install ## Style, types, and nothing forgotten
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install ## Write docs/sql-api.md from the comments in the database
	$(BIN)/python docs/make_sql_api.py

notebooks: install ## Run the notebooks in docs/ and keep what they answer
	$(BIN)/python docs/make_notebooks.py

site: install ## The documentation as a site in build/site, without a request to another host; every link is checked
	$(BIN)/mkdocs build --strict

bench: install ## Run every benchmark; each prints ratios against a baseline of the same run
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## Remove the virtual environment and the demo's database
	rm -rf .venv .ehrdb
