# In place of a scan: statistics that somebody has published.
rule fetch_activations:
    """Fetch a run's published activations, or sampled ones, from the hub; write which revision."""
    output:
        "results/{run}/activations.json",
    log:
        "logs/fetch_activations/{run}.log",
    wildcard_constraints:
        run=PUBLISHED,
    localrule: True
    params:
        settings=of(flow.settings, stage="fetch_activations"),
        version=of(flow.version, stage="fetch_activations"),
    script:
        "../scripts/fetch_activations.py"


use rule fetch_activations as fetch_sampled_activations with:
    output:
        "results/{run}/sampled_activations.json",
    log:
        "logs/fetch_sampled_activations/{run}.log",
    params:
        settings=of(flow.settings, stage="fetch_sampled_activations"),
        version=of(flow.version, stage="fetch_sampled_activations"),


rule take_activations:
    """Make a run's summary from published activations; refuse those of another model or data set."""
    input:
        activations=of(flow.activation_files),
        sampled=of(flow.sampled_files),
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
    output:
        "results/{run}/summary.zarr/zarr.json",
    log:
        "logs/take_activations/{run}.log",
    wildcard_constraints:
        run=PUBLISHED,
    params:
        settings=of(flow.settings, stage="take_activations"),
        version=of(flow.version, stage="take_activations"),
    script:
        "../scripts/take_activations.py"
