# Texts -> token data set, and a plan of shards with about equally many tokens.
localrules:
    plan_shards,


rule tokenise:
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
        source=refusing(lambda wildcards: flow.source(wildcards.dataset)),
        tokenizer=refusing(lambda wildcards: flow.tokenizer(wildcards.dataset)),
        revision=of_dataset("revision"),
        split=of_dataset("split"),
        text_column=of_dataset("text_column"),
        max_length=of_dataset("max_length"),
        long_texts=of_dataset("long_texts"),
        max_tokens=of_dataset("max_tokens"),
        shuffle_seed=of_dataset("shuffle_seed"),
        bos=of_dataset("bos"),
        code=code("tokenise"),
    script:
        "../scripts/tokenise.py"


rule plan_shards:
    """Share out the rows of a token data set among shards."""
    input:
        DATASET.tokens,
    output:
        DATASET.plan("{shards}"),
    log:
        "logs/plan_shards/{dataset}-{shards}.log",
    params:
        code=code("plan_shards"),
    script:
        "../scripts/plan_shards.py"
