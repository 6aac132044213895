# Models and data sets from the hub, and what they are. On a cluster these run where Snakemake does: compute nodes
# have no network. Checkpoints, as in dataset.smk.
checkpoint fetch_model:
    """Find the model of a run, or fetch it from the hub; write what other stages need to know of it."""
    input:
        of(flow.model_files),
    output:
        "results/{run}/model.json",
    log:
        "logs/fetch_model/{run}.log",
    localrule: True
    params:
        settings=of(flow.settings, stage="fetch_model"),
        files=of(flow.stamp_of_model),
        version=of(flow.version, stage="fetch_model"),
    script:
        "../scripts/fetch_model.py"


checkpoint fetch_dataset:
    """Fetch what a data set takes from the hub, source or tokenizer; write which revisions."""
    input:
        of(flow.source_files),
    output:
        "results/datasets/{dataset}.source.json",
    log:
        "logs/fetch_dataset/{dataset}.log",
    localrule: True
    params:
        settings=of(flow.settings, stage="fetch_dataset"),
        files=of(flow.stamp_of_source),
        version=of(flow.version, stage="fetch_dataset"),
    script:
        "../scripts/fetch_dataset.py"
