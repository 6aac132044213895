# What the gated neurons of a language model respond to: texts -> token data set -> scan -> summary -> pages.
# `snakemake --list` describes the rules; config/README.md every key of the config.
from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"


# Only with `--sdm apptainer`; envs/gluscope.def says how to build it.
container: image(f"{workflow.basedir}/envs/gluscope.sif")


include: "rules/fetch.smk"
include: "rules/dataset.smk"
include: "rules/scan.smk"
include: "rules/merge.smk"
include: "rules/activations.smk"
include: "rules/weights.smk"
include: "rules/replay.smk"
include: "rules/recompute.smk"
include: "rules/page.smk"
include: "rules/site.smk"
include: "rules/export.smk"
include: "rules/compare.smk"
include: "rules/side_by_side.smk"


rule all:
    """Sites, with their listed pages, of the runs under `all:`."""
    default_target: True
    input:
        of(flow.sites),
