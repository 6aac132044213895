# What the rules share: file names, checks, and the functions that look up inputs and settings. No rules.
import functools
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from gluscope.cluster.restart import make_good
from gluscope.config.load import ConfigErrors
from gluscope.config.neurons import Batch
from gluscope.config.places import stamp
from gluscope.core.errors import GluscopeError
from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.workflow import Workflow

try:
    flow = Workflow(config, Path(workflow.basedir))
except ConfigErrors as errors:
    sys.exit(str(errors))

own = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
config |= {"asked": flow.asked, "configfiles": own}

if workflow.is_main_process:
    make_good(sys.argv[1:], lambda text: print(text, file=sys.stderr, flush=True))


def runs_with(condition):
    """A pattern of the names of all runs for which `condition` holds, for rules that only those use."""
    names = [run.name for run in flow.config.runs.values() if condition(run)]
    return "|".join(map(re.escape, names)) or "(?!)"


FROM_MODEL = runs_with(lambda run: run.pages_source == "model")
CACHED = runs_with(lambda run: run.cache)
REPLAYED = runs_with(lambda run: run.pages_source == "replay")
RUN = RunPaths("{run}")
DATASET = DatasetPaths("{dataset}")


wildcard_constraints:
    run=r"(?!(datasets|sources)/)[^/]+",
    reference=r"[^/]+",
    dataset=r"[^/]+",
    shard=r"\d{4}",
    layer=r"0|[1-9]\d*",
    neuron=r"0|[1-9]\d*",
    low=r"\d+",
    high=r"\d+",
    stage=r"[a-z]+",


def refusing(function):
    """Let a function of wildcards end Snakemake with one line for what the config or a target gets wrong."""

    @functools.wraps(function)
    def checked(wildcards):
        try:
            return function(wildcards)
        except GluscopeError as error:
            sys.exit(f"error: {error}")

    return checked


def code(stage):
    """Digest of the code that `stage` uses: a change of it makes the rule run again."""
    return lambda wildcards: flow.code(stage)


def stamp_of(files):
    """Names, sizes and dates of the user's own files, which `files` gives: older ones that took their place count."""
    return refusing(lambda wildcards: stamp(files(wildcards)))


def of_run(key):
    """A key of the run."""
    return refusing(lambda wildcards: getattr(flow.run(wildcards.run), key))


def of_dataset(key):
    """A key of the data set."""
    return refusing(lambda wildcards: getattr(flow.dataset(wildcards.dataset), key))


@refusing
def tokens_of_run(wildcards):
    """The token data set of a run."""
    return flow.dataset_of(wildcards.run).paths.tokens


@refusing
def tokenizer_of_run(wildcards):
    """What leads to the tokenizer of a run's texts."""
    return flow.tokenizer_of_pages(wildcards.run)


@refusing
def plan_of_shard(wildcards):
    """The shard plan of a run. A new one asks for a scan of the last shard alone, which takes what was appended."""
    last, plan = flow.shards(wildcards.run)[-1], RunPaths(wildcards.run).plan
    return plan if flow.shard(wildcards.run, wildcards.shard) == last else ancient(plan)


@refusing
def scans_of_run(wildcards):
    """What the scan wrote, for all shards of a run."""
    paths = RunPaths(wildcards.run)
    return [paths.scan(shard) for shard in flow.shards(wildcards.run)]


@refusing
def caches_for_pages(wildcards):
    """The caches, or replays, of all shards, if the run's pages are computed from them."""
    return flow.kept_for_pages(wildcards.run)


@refusing
def summary_of_neuron(wildcards):
    """The run's summary, after a look whether the model has the neuron."""
    flow.neuron(wildcards.run, int(wildcards.layer), int(wildcards.neuron))
    return RunPaths(wildcards.run).summary


@refusing
def neurons_of_batch(wildcards):
    """The listed neurons of a batch, as ranges."""
    batch = Batch(*map(int, [wildcards.layer, wildcards.low, wildcards.high]))
    return flow.batch_ranges(wildcards.run, batch)


@refusing
def listed_by_layer(wildcards):
    """The listed neurons of a run, as ranges by layer."""
    return flow.listed_ranges(wildcards.run)


@refusing
def listed_pages(wildcards):
    """What stands for the listed pages of a run: the pages, or markers of batches where they are many."""
    return flow.page_files(wildcards.run)


@refusing
def compared(wildcards):
    """The summaries of two runs on the same data set."""
    runs = {"summary": wildcards.run, "reference": wildcards.reference}
    flow.same_dataset(*runs.values())
    return {name: RunPaths(run).summary for name, run in runs.items()}


@refusing
def sites(wildcards):
    """The sites of the runs under `all:`. With their pages: Snakemake misses only what a target names itself."""
    runs = flow.config.all
    return [RunPaths(run).index for run in runs] + sum(map(flow.page_files, runs), [])


def batch_tokens(wildcards, attempt):
    """Tokens in a forward pass, fewer with each retry: running out of memory is the usual reason for one."""
    return max(1, flow.run(wildcards.run).batch_tokens // attempt)
