# What the rules share: the config, patterns of names, and how they ask for inputs and settings. No rules.
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from gluscope.config.load import ConfigErrors
from gluscope.core.neuron import NEURON
from gluscope.workflow.flow import Flow, asking
from gluscope.workflow.hooks import keep_outputs
from gluscope.workflow.start import Start
from gluscope.workflow.submitted import take_submitted


def make_again(files):
    """Have files made again that are there, as `--forcerun` has it."""
    if workflow.is_main_process and workflow.dag is not None:
        workflow.dag.forcefiles.update(files)


own = take_submitted(config)
try:
    flow = Flow(config, Path(workflow.basedir), make_again)
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


def of(question, **known):
    """What `flow` says of a job's run, data set, shard, neuron ...: a question's parameters are wildcards, or `known`."""
    return asking(question, **known)


# Names of runs that some rules are for, and of all others, with those that the config lacks: they are refused by name.
CACHED, NOT_CACHED = flow.runs_with(lambda run: run.cache)
REPLAYED, _ = flow.runs_with(lambda run: run.pages_source == "replay")
FROM_MODEL, NOT_FROM_MODEL = flow.runs_with(lambda run: run.pages_source == "model")
PUBLISHED, SCANNED = flow.runs_with(lambda run: run.activations is not None)


wildcard_constraints:
    run=r"(?!(datasets|sources)/)[^/]+",
    reference=r"[^/]+",
    dataset=r"[^/]+",
    shard=r"\d{4}",
    layer=r"0|[1-9]\d*",
    neuron=NEURON,
    other=NEURON,
    low=r"\d+",
    high=r"\d+",
    stage=r"[a-z]+",


def plan_of_shard(wildcards):
    """The shard plan of a run. A new one asks for a scan of the last shard alone, which takes what was appended."""
    plan, last = of(flow.plan_of_shard)(wildcards)
    return plan if last else ancient(plan)


def batch_tokens(wildcards, attempt):
    """Tokens in a forward pass, fewer with each retry: running out of memory is the usual reason for one."""
    return max(1, of(flow.batch_tokens)(wildcards) // attempt)
