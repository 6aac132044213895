# Gate and in at every token of the example texts: of one neuron, or of a batch of listed neurons of a layer.
# Where pages are computed from the model, jobs of the same script go by another name: those want a GPU.
# One neuron from a cache takes a second, less than a job waits in a queue: it is computed where Snakemake runs.
rule stage_version:
    """Write down a stage's version and keys. What is made in bulk is older or newer than this file."""
    output:
        "results/{run}/versions/{stage}.json",
    log:
        "logs/stage_version/{run}-{stage}.log",
    localrule: True
    params:
        settings=of(flow.settings),
        version=of(flow.version, run=None),
    script:
        "../scripts/stage_version.py"


rule recompute:
    """Compute gate and in of one neuron at its example texts."""
    input:
        summary=of(flow.summary_of_neuron),
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        caches=of(flow.kept_for_pages),
        version="results/{run}/versions/recompute.json",
    output:
        "results/{run}/neurons/{neuron}.npz",
    log:
        "logs/recompute/{run}/{neuron}.log",
    wildcard_constraints:
        run=NOT_FROM_MODEL,
    localrule: True
    threads: 2
    resources:
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        settings=of(flow.settings, stage="recompute"),
    script:
        "../scripts/recompute.py"


use rule recompute as recompute_with_model with:
    wildcard_constraints:
        run=FROM_MODEL,
    localrule: False
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,


rule recompute_batch:
    """Compute gate and in of all listed neurons of a batch that have none newer than what they come from."""
    input:
        summary="results/{run}/summary.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        caches=of(flow.kept_for_pages),
        version="results/{run}/versions/recompute.json",
    output:
        touch("results/{run}/done/recompute-L{layer}-N{low}-{high}"),
    log:
        "logs/recompute/{run}/L{layer}-N{low}-{high}.log",
    wildcard_constraints:
        run=NOT_FROM_MODEL,
    threads: 2
    resources:
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        neurons=of(flow.neurons_of_batch),
        settings=of(flow.settings, stage="recompute"),
    script:
        "../scripts/recompute.py"


use rule recompute_batch as recompute_batch_with_model with:
    wildcard_constraints:
        run=FROM_MODEL,
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,
