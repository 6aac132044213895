# What the rules share: the config, patterns of names, and how they ask for inputs and settings. No rules.
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from snakemake.io import flag
from snakemake.path_modifier import PATH_MODIFIER_FLAG
from snakemake.sourcecache import HostingProviderFile


def folder_of(rules):
    """The folder of our Snakefile; of one that Snakemake reads from a git host, the files of its commit as a folder."""
    if not isinstance(rules, HostingProviderFile):
        return Path(str(rules)).parent
    clone = rules.hosted_repo
    commit = clone.repo.commit(rules.ref)
    found = clone.repo_clone.with_name(f"{clone.repo_clone.name}-{commit.hexsha}")
    if not found.is_dir():
        with tempfile.TemporaryDirectory(dir=found.parent) as part:
            with open(f"{part}/files.tar", "w+b") as packed:
                clone.repo.archive(packed, commit.hexsha)
                packed.seek(0)
                # Python 3.11 has filters from 3.11.4 on; what is unpacked is code that runs all the same.
                safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tarfile.open(fileobj=packed).extractall(f"{part}/files", **safe)
            if not found.is_dir():
                os.rename(f"{part}/files", found)
    return found


folder = folder_of(workflow.current_basedir)
sys.path.insert(0, f"{folder}/scripts")


configfile: f"{folder}/config/config.yaml"


from gluscope.config.load import ConfigErrors
from gluscope.core.neuron import NEURON
from gluscope.workflow.flow import Flow, asking
from gluscope.workflow.hooks import keep_outputs, scripts_find
from gluscope.workflow.submitted import take_submitted

if isinstance(workflow.current_basedir, HostingProviderFile):
    scripts_find(folder)
own = take_submitted(config)
if own is None:
    own = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
# Where this workflow is a module of another one, with a prefix, its results lie elsewhere.
results = workflow.modifier.path_modifier.replace_prefix("results/").rstrip("/")
try:
    flow = Flow(config, folder, results)
except ConfigErrors as errors:
    sys.exit(str(errors))

if workflow.is_main_process:
    from gluscope.workflow.start import Start

    start = Start(
        workflow, flow, config, own, alone=workflow.modifier.is_main_snakefile()
    )
    start.hook_in()
elif workflow.modifier.is_main_snakefile():
    keep_outputs(workflow)
config = {
    **config,
    "asked": flow.asked,
    "configfiles": own,
    "costs": flow.costs(),
    "results": results,
}


onstart:
    # Not in dry runs: nothing of it is done then.
    start.announce()


def image(path):
    """A container's image; none in a folder with a space, which Snakemake refuses even where no container is asked for."""
    if " " not in path:
        return path
    if "apptainer" in map(str, workflow.deployment_settings.deployment_method):
        found = f"error: --sdm apptainer: expected a clone in a folder without spaces, found {folder}"
        sys.exit(f"{found}. Next: move it.")
    return None


def of(question, **known):
    """What `flow` says of a job's run, data set, shard, neuron ...: a question's parameters are wildcards, or `known`."""
    answer = asking(question, **known)
    return (
        answer
        if results == "results"
        else lambda wildcards: as_it_is(answer(wildcards))
    )


def as_it_is(files):
    """Names to which Snakemake is not to add a module's prefix: ours have it, and the user's own have none."""
    if isinstance(files, dict):
        return {name: as_it_is(file) for name, file in files.items()}
    if isinstance(files, list):
        return [as_it_is(file) for file in files]
    return flag(files, PATH_MODIFIER_FLAG) if isinstance(files, str) else files


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
    plan = f"results/{wildcards.run}/plan.json"
    return plan if of(flow.is_last)(wildcards) else ancient(plan)


def batch_tokens(wildcards, attempt):
    """Tokens in a forward pass, fewer with each retry: running out of memory is the usual reason for one."""
    return max(1, of(flow.batch_tokens)(wildcards) // attempt)
