# Gate and in at every token of the example texts: of one neuron, or of a batch of listed neurons of a layer.
# Where pages are computed from the model, jobs of the same script go by another name: those want a GPU.
# One neuron from a cache takes a second, less than a job waits in a queue: it is computed where Snakemake runs.
localrules:
    stage_version,
    recompute,


rule stage_version:
    """Write down a stage's version and keys. What is made in bulk is older or newer than this file."""
    output:
        RUN.version("{stage}"),
    log:
        "logs/stage_version/{run}-{stage}.log",
    params:
        settings=refusing(
            lambda wildcards: flow.settings(wildcards.stage, wildcards.run)
        ),
        version=refusing(lambda wildcards: flow.version(wildcards.stage)),
    script:
        "../scripts/stage_version.py"


rule recompute:
    """Compute gate and in of one neuron at its example texts."""
    input:
        summary=summary_of_neuron,
        model=RUN.model,
        tokens=tokens_of_run,
        caches=caches_for_pages,
        version=RUN.version("recompute"),
    output:
        RUN.neuron("{neuron}"),
    log:
        "logs/recompute/{run}/{neuron}.log",
    wildcard_constraints:
        run=f"(?!({FROM_MODEL})/)[^/]+",
    threads: 2
    resources:
        device=of_run("device"),
        batch_tokens=batch_tokens,
    params:
        settings=settings("recompute"),
    script:
        "../scripts/recompute.py"


use rule recompute as recompute_with_model with:
    wildcard_constraints:
        run=FROM_MODEL,


rule recompute_batch:
    """Compute gate and in of all listed neurons of a batch that have none newer than what they come from."""
    input:
        summary=RUN.summary,
        model=RUN.model,
        tokens=tokens_of_run,
        caches=caches_for_pages,
        version=RUN.version("recompute"),
    output:
        touch(RUN.done("recompute", "{layer}", "{low}", "{high}")),
    log:
        "logs/recompute/{run}/L{layer}-N{low}-{high}.log",
    wildcard_constraints:
        run=f"(?!({FROM_MODEL})/)[^/]+",
    threads: 2
    resources:
        device=of_run("device"),
        batch_tokens=batch_tokens,
    params:
        neurons=neurons_of_batch,
        settings=settings("recompute"),
    script:
        "../scripts/recompute.py"


use rule recompute_batch as recompute_batch_with_model with:
    wildcard_constraints:
        run=FROM_MODEL,
