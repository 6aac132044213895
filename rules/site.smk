# The way to the pages of a run.
rule site_index:
    """Make the start page of a run's site, with its pages and a finder over all neurons."""
    input:
        pages=of(flow.page_files),
        effects=of(flow.effect_files),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
    output:
        "results/{run}/site/index.html",
    log:
        "logs/site_index/{run}.log",
    localrule: True
    params:
        unlisted=of(flow.unlisted),
        version=of(flow.version, stage="site_index"),
    script:
        "../scripts/site_index.py"
