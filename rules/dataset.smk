# Texts -> token data set, and a plan of shards with about equally many tokens. Checkpoints: when one is done Snakemake
# looks again at what depends on it, and leaves out what has nothing new to read.
rule demo_text:
    """Collect the demo's texts: the prose of Python's own documentation as this machine has it."""
    output:
        "results/sources/python-docs.jsonl",
    log:
        "logs/demo_text.log",
    localrule: True
    params:
        version=of(flow.version, stage="demo_text"),
    script:
        "../scripts/demo_text.py"


checkpoint tokenise:
    """Tokenise, cut and choose texts; a source that has tokens is taken as it is."""
    input:
        source=of(flow.source_files),
        tokenizer=of(flow.tokenizer_files),
        fetched=of(flow.fetched),
    output:
        "results/datasets/{dataset}/tokens.json",
    log:
        "logs/tokenise/{dataset}.log",
    threads: 4
    params:
        settings=of(flow.settings, stage="tokenise"),
        files=of(flow.stamp_of_texts),
        version=of(flow.version, stage="tokenise"),
    script:
        "../scripts/tokenise.py"


checkpoint plan_shards:
    """Share out the rows of a run's data set among its shards; where it has grown, earlier shards stay as they are.

    Says what the scan takes, and stops where that is more than the run may.
    """
    input:
        tokens=of(flow.tokens),
        model=ancient("results/{run}/model.json"),
    output:
        update("results/{run}/plan.json"),
    log:
        "logs/plan_shards/{run}.log",
    localrule: True
    params:
        settings=of(flow.settings, stage="plan_shards"),
        version=of(flow.version, stage="plan_shards"),
    script:
        "../scripts/plan_shards.py"
