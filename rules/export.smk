# Results for other tools, in the refactored convention where their formats have it. docs/exports.md.
rule export_hf:
    """Write the statistics of all neurons as a published activation data set."""
    input:
        "results/{run}/summary.zarr/zarr.json",
    output:
        "results/{run}/export/hf/state.json",
    log:
        "logs/export_hf/{run}.log",
    params:
        version=of(flow.version, stage="export_hf"),
    script:
        "../scripts/export_hf.py"


rule export_gluscope_site:
    """Write the listed neurons as a folder of the GLUScope site."""
    input:
        neurons=of(flow.neuron_files),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
    output:
        "results/{run}/export/gluscope-site/pages.json",
    log:
        "logs/export_gluscope_site/{run}.log",
    params:
        settings=of(flow.settings, stage="export_gluscope_site"),
        version=of(flow.version, stage="export_gluscope_site"),
    script:
        "../scripts/export_gluscope_site.py"


rule export_neuronpedia:
    """Write the listed neurons in Neuronpedia's export layout."""
    input:
        neurons=of(flow.neuron_files),
        explanation=of(flow.explanations),
        descriptions=of(flow.taken_descriptions),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
    output:
        "results/{run}/export/neuronpedia/sources.json",
    log:
        "logs/export_neuronpedia/{run}.log",
    params:
        settings=of(flow.settings, stage="export_neuronpedia"),
        version=of(flow.version, stage="export_neuronpedia"),
    script:
        "../scripts/export_neuronpedia.py"


rule export_neurons:
    """Write the statistics of every neuron as a Parquet table, one row a neuron, for DuckDB, pandas, polars."""
    input:
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        effects=of(flow.effect_files),
        explanations=of(flow.explanations),
        descriptions=of(flow.taken_descriptions),
    output:
        "results/{run}/export/neurons.parquet",
    log:
        "logs/export_neurons/{run}.log",
    params:
        version=of(flow.version, stage="export_neurons"),
    script:
        "../scripts/export_neurons.py"
