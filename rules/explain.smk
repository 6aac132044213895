# Words for the sign cases of neurons, from a language model: of all listed ones in one job, so that its estimate and its
# budget are of the whole; of any other when it is asked for. For runs with `explain`. It computes next to nothing, and
# compute nodes often reach no server, so it runs where Snakemake does.
rule explain:
    """Put one neuron's sign cases into words, and score them on texts that the words were not made from."""
    input:
        neuron=of(flow.explained_from),
        summary="results/{run}/summary.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
        version="results/{run}/versions/explain.json",
    output:
        "results/{run}/explain/{neuron}.json",
    log:
        "logs/explain/{run}/{neuron}.log",
    localrule: True
    params:
        settings=of(flow.settings, stage="explain"),
    script:
        "../scripts/explain.py"


rule explain_listed:
    """Put all listed neurons into words whose explanation is older than what it comes from."""
    input:
        neurons=of(flow.explained_from_all),
        summary="results/{run}/summary.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
        version="results/{run}/versions/explain.json",
    output:
        touch("results/{run}/done/explain"),
    log:
        "logs/explain/{run}/listed.log",
    localrule: True
    params:
        neurons=of(flow.listed_ranges),
        settings=of(flow.settings, stage="explain"),
    script:
        "../scripts/explain.py"
