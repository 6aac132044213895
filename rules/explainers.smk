# Results for programs that explain neurons in words, and that score such words. docs/exports.md.
rule export_explainers:
    """Write texts of the listed neurons, by sign case, to explain from and to score by: as JSON lines, and as delphi's records."""
    input:
        neurons=of(flow.neuron_files),
        descriptions=of(flow.taken_descriptions),
        summary="results/{run}/summary.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
    output:
        "results/{run}/export/explainers/examples.jsonl",
    log:
        "logs/export_explainers/{run}.log",
    params:
        settings=of(flow.settings, stage="export_explainers"),
        version=of(flow.version, stage="export_explainers"),
    script:
        "../scripts/export_explainers.py"
