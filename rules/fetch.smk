# Models and data sets from the hub, and what they are. On a cluster these run where Snakemake does: compute nodes
# have no network. Checkpoints, as in dataset.smk.
localrules:
    fetch_model,
    fetch_dataset,


checkpoint fetch_model:
    """Find the model of a run, or fetch it from the hub; write what other stages need to know of it."""
    input:
        for_run(flow.model_files),
    output:
        RUN.model,
    log:
        "logs/fetch_model/{run}.log",
    params:
        settings=settings("fetch_model"),
        files=stamp_of(lambda wildcards: flow.model_files(wildcards.run)),
        version=version("fetch_model"),
    script:
        "../scripts/fetch_model.py"


checkpoint fetch_dataset:
    """Fetch what a data set takes from the hub, source or tokenizer; write which revisions."""
    input:
        refusing(lambda wildcards: flow.source_files(wildcards.dataset)),
    output:
        DATASET.source,
    log:
        "logs/fetch_dataset/{dataset}.log",
    params:
        settings=settings("fetch_dataset"),
        files=stamp_of(lambda wildcards: flow.source_files(wildcards.dataset)),
        version=version("fetch_dataset"),
    script:
        "../scripts/fetch_dataset.py"
