# What the gated neurons of a language model respond to: texts -> token data set -> scan -> summary -> pages.
# `snakemake --list` describes the rules; config/README.md every key of the config; docs/module.md how another workflow
# uses this one.
from snakemake.utils import min_version

min_version("9.0")


include: "rules/common.smk"


# Only with `--sdm apptainer`; envs/gluscope.def says how to build it.
container: image(f"{folder}/envs/gluscope.sif")


# The first rule is what is made when no target is named; in another workflow, that one's first rule.
rule all:
    """Sites, with their listed pages, of the runs under `all:`."""
    input:
        of(flow.sites),


include: "rules/fetch.smk"
include: "rules/dataset.smk"
include: "rules/scan.smk"
include: "rules/merge.smk"
include: "rules/activations.smk"
include: "rules/descriptions.smk"
include: "rules/weights.smk"
include: "rules/replay.smk"
include: "rules/recompute.smk"
include: "rules/effect.smk"
include: "rules/explain.smk"
include: "rules/page.smk"
include: "rules/site.smk"
include: "rules/export.smk"
include: "rules/explainers.smk"
include: "rules/compare.smk"
include: "rules/side_by_side.smk"
