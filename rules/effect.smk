# What neurons do to predictions, measured: of the listed ones of a layer in one job, which loads the model once; of any
# other when its page is asked for. For runs with `effect`.
rule effect:
    """Measure what one neuron does to predictions: the model with and without it at its strongest and at typical tokens."""
    input:
        neuron=of(flow.measured_from),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        version="results/{run}/versions/effect.json",
    output:
        "results/{run}/effect/{neuron}.npz",
    log:
        "logs/effect/{run}/{neuron}.log",
    threads: 2
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        settings=of(flow.settings, stage="effect"),
    script:
        "../scripts/effect.py"


rule effect_batch:
    """Measure all listed neurons of a batch whose effect is older than what it comes from."""
    input:
        neurons=of(flow.recomputed_for_effects),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        version="results/{run}/versions/effect.json",
    output:
        touch("results/{run}/done/effect-L{layer}-N{low}-{high}"),
    log:
        "logs/effect/{run}/L{layer}-N{low}-{high}.log",
    threads: 2
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        neurons=of(flow.neurons_of_batch),
        settings=of(flow.settings, stage="effect"),
    script:
        "../scripts/effect.py"
