# Texts -> token data set, and a plan of shards with about equally many tokens. Checkpoints: when one is done Snakemake
# looks again at what depends on it, and leaves out what has nothing new to read.
localrules:
    plan_shards,


checkpoint tokenise:
    """Tokenise, cut and choose texts; a source that has tokens is taken as it is."""
    input:
        source=refusing(lambda wildcards: flow.source_files(wildcards.dataset)),
        tokenizer=refusing(lambda wildcards: flow.tokenizer_files(wildcards.dataset)),
        fetched=refusing(lambda wildcards: flow.fetched(wildcards.dataset)),
    output:
        DATASET.tokens,
    log:
        "logs/tokenise/{dataset}.log",
    threads: 4
    params:
        settings=settings("tokenise"),
        files=stamp_of(
            lambda wildcards: flow.source_files(wildcards.dataset)
            + flow.tokenizer_files(wildcards.dataset)
        ),
        version=version("tokenise"),
    script:
        "../scripts/tokenise.py"


checkpoint plan_shards:
    """Share out the rows of a run's data set among its shards; where it has grown, earlier shards stay as they are.

    Says what the scan takes, and stops where that is more than the run may.
    """
    input:
        tokens=tokens_of_run,
        model=ancient(RUN.model),
    output:
        update(RUN.plan),
    log:
        "logs/plan_shards/{run}.log",
    params:
        settings=settings("plan_shards"),
        version=version("plan_shards"),
    script:
        "../scripts/plan_shards.py"
