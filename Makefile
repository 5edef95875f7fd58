# Everything a reader or contributor does, one word each. `make` lists the words.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SITE := _build/html
RUN := $(BIN)/python -m moe_lib
DEVICE := cuda
PORT := 8000
# Results of one commit, so that those of older code are not taken for new ones.
FULL := out/full-$(shell git describe --always --dirty 2>/dev/null)
THEORY := timing_law specialists coverage information additive_training additive_control
# Matrices are small here: a second thread gains little, and on a busy machine it stalls.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help book test notebooks lint bench gifs reproduce reproduce-full reproduce-theory reproduce-images preview serve clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

$(STAMP): pyproject.toml constraints.txt moe_lib/native.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[all]'
	touch $@

book: $(STAMP) ## build the site from the committed outputs
	@# A fresh build each time: Sphinx keeps stale numbers of other pages otherwise.
	rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "The book is at $(CURDIR)/$(SITE)/index.html"
	@echo "Open that file in a browser; the playground needs a server: make serve"

test: book ## every test: library, notebooks against their outputs, built site
	$(BIN)/python -m pytest tests -n 2 --dist loadfile --cov
	@# Apart: nbval would measure its kernels, too. In their order: the last two, which
	@# take longest, then run side by side.
	$(BIN)/python -m pytest notebooks -n 2 --dist loadfile --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg

notebooks: $(STAMP) ## execute all notebooks again, in place
	$(BIN)/python -m tools.notebooks execute

lint: $(STAMP) ## style, types and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell

bench: $(STAMP) ## how fast a step is on this machine, and how fast it could be
	mkdir -p out
	OMP_NUM_THREADS=$$(getconf _NPROCESSORS_ONLN) $(BIN)/python -m pytest \
	  benchmarks/test_step.py --benchmark-quiet --benchmark-json=out/bench.json
	@$(BIN)/python -m benchmarks.report out/bench.json

gifs: $(STAMP) ## draw the animations again
	$(BIN)/python -m moe_lib animate --out notebooks/media

reproduce: $(STAMP) ## train one seed of a part of the committed results, and compare
	rm -rf out/part
	$(RUN) table --setting 1 --seeds 1 --out out/part
	$(RUN) reproduce authors_table audit_factorial --seeds 1 --out out/part
	$(RUN) compare out/part

reproduce-full: $(STAMP) ## train all that the paper published (a GPU, or DEVICE=cpu and patience)
	$(MAKE) -j $(if $(filter cpu,$(DEVICE)),1,4) -o $(STAMP) $(addprefix $(FULL)/,$(filter-out \
	  $(addsuffix .json,$(THEORY) images),$(notdir $(wildcard moe_lib/results/*))))
	$(RUN) compare $(FULL)

reproduce-theory: $(STAMP) ## train what tests the theory (a GPU, or DEVICE=cpu and much patience)
	$(RUN) reproduce $(THEORY) --device $(DEVICE) --out $(FULL)-theory
	$(RUN) compare $(FULL)-theory

reproduce-images: $(STAMP) ## train networks on turned digits (a GPU: more than an hour)
	$(RUN) reproduce images --device $(DEVICE) --out $(FULL)-images
	$(RUN) compare $(FULL)-images

$(FULL)/table_setting%.json: $(STAMP)
	$(RUN) table --setting $* --device $(DEVICE) --out $(FULL)

$(FULL)/widths_setting%.json: $(STAMP)
	$(RUN) widths --setting $* --device $(DEVICE) --out $(FULL)

$(FULL)/strength_setting%.json: $(STAMP)
	$(RUN) strength --setting $* --device $(DEVICE) --out $(FULL)

$(FULL)/%.json: $(STAMP)
	$(RUN) reproduce $* --device $(DEVICE) --out $(FULL)

preview: book ## list the pages that a change alters (BASE=commit; else where main was left)
	@$(BIN)/python -m tools.preview $(BASE)

serve: ## show the built site on http://localhost:8000 (or PORT=8001)
	@test -f $(SITE)/index.html || { echo "No site yet: run make book"; exit 1; }
	$(PYTHON) -m http.server $(PORT) --bind localhost --directory $(SITE)

clean: ## remove the built site and caches (the .venv stays)
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis
