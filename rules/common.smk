# What the rules share: file names, checks, and the functions that look up inputs and settings. No rules.
import functools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from gluscope.cluster.restart import keep_outputs
from gluscope.cluster.submitted import take_submitted
from gluscope.config.load import ConfigErrors
from gluscope.config.neurons import Batch
from gluscope.config.places import stamp
from gluscope.core.errors import GluscopeError
from gluscope.core.neuron import NEURON, NeuronId
from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.start import Start
from gluscope.workflow import Workflow


def make_again(files):
    """Have files made again that are there, as `--forcerun` has it."""
    if workflow.is_main_process and workflow.dag is not None:
        workflow.dag.forcefiles.update(files)


own = take_submitted(config)
try:
    flow = Workflow(config, Path(workflow.basedir), make_again)
except ConfigErrors as errors:
    sys.exit(str(errors))

if own is None:
    own = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
as_read = dict(config)
config |= {"asked": flow.asked, "configfiles": own, "costs": flow.costs()}

start = Start(workflow, flow, config, as_read)
if workflow.is_main_process:
    start.hook_in()
else:
    keep_outputs(workflow)


onstart:
    # Not in dry runs: nothing of it is done then.
    start.announce()


def image(path):
    """A container's image; none in a folder with a space, which Snakemake refuses even where no container is asked for."""
    if " " not in path:
        return path
    if "apptainer" in map(str, workflow.deployment_settings.deployment_method):
        found = f"error: --sdm apptainer: expected a clone in a folder without spaces, found {workflow.basedir}"
        sys.exit(f"{found}. Next: move it.")
    return None


# Patterns of the names of runs that some rules are for.
FROM_MODEL = flow.runs_with(lambda run: run.pages_source == "model")
CACHED = flow.runs_with(lambda run: run.cache)
REPLAYED = flow.runs_with(lambda run: run.pages_source == "replay")
TAKEN = flow.runs_with(lambda run: run.activations is not None)
RUN = RunPaths("{run}")
DATASET = DatasetPaths("{dataset}")


wildcard_constraints:
    run=r"(?!(datasets|sources)/)[^/]+",
    reference=r"[^/]+",
    dataset=r"[^/]+",
    shard=r"\d{4}",
    layer=r"0|[1-9]\d*",
    neuron=NEURON,
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


def settings(stage):
    """The config keys that a stage depends on: what the table of stages names (scripts/gluscope/stages/table.py)."""
    return refusing(lambda wildcards: flow.settings(stage, named(wildcards)))


def version(stage):
    """The version of a stage: a new one makes the rule run again, an edit of its code does not."""
    return refusing(lambda wildcards: flow.version(stage, wildcards.get("run")))


def named(wildcards):
    """The run, or else the data set, that a rule's files belong to."""
    return wildcards.get("run") or wildcards.dataset


def stamp_of(files):
    """Names, sizes and dates of the user's own files, which `files` gives: older ones that took their place count."""
    return refusing(lambda wildcards: stamp(files(wildcards)))


def of_run(key):
    """A key of the run."""
    return refusing(lambda wildcards: getattr(flow.run(wildcards.run), key))


def for_run(method):
    """What a method of `flow` says of the run."""
    return refusing(lambda wildcards: method(wildcards.run))


tokens_of_run = for_run(flow.tokens)
tokenizer_of_run = for_run(flow.tokenizer_of_pages)
caches_for_pages = for_run(flow.kept_for_pages)


@refusing
def plan_of_shard(wildcards):
    """The shard plan of a run. A new one asks for a scan of the last shard alone, which takes what was appended."""
    last, plan = flow.shards(wildcards.run)[-1], RunPaths(wildcards.run).plan
    return plan if flow.shard(wildcards.run, wildcards.shard) == last else ancient(plan)


@refusing
def summary_of_neuron(wildcards):
    """The run's summary, after a look whether the model has the neuron."""
    flow.neuron(wildcards.run, NeuronId.parse(wildcards.neuron))
    return RunPaths(wildcards.run).summary


def layer_of(wildcards):
    """The layer of a neuron, by which a report sorts its pages."""
    return wildcards.neuron.split("/")[0]


def batch_of(wildcards):
    """The stretch of a layer that a rule's files are named after."""
    return Batch(*map(int, [wildcards.layer, wildcards.low, wildcards.high]))


@refusing
def neurons_of_batch(wildcards):
    """The listed neurons of a batch, as ranges."""
    return flow.batch_ranges(wildcards.run, batch_of(wildcards))


@refusing
def recomputed_for_batch(wildcards):
    """The marker of the recomputed values of a batch's neurons, and of others of the layer."""
    return flow.recomputed_for(wildcards.run, batch_of(wildcards))


@refusing
def compared(wildcards):
    """The summaries of two runs on the same data set."""
    return flow.compared(wildcards.run, wildcards.reference)


@refusing
def sites(wildcards):
    """The sites of the runs under `all:`, with their pages."""
    return flow.sites()


def batch_tokens(wildcards, attempt):
    """Tokens in a forward pass, fewer with each retry: running out of memory is the usual reason for one."""
    return max(1, flow.run(wildcards.run).batch_tokens // attempt)
