# One self-contained HTML file a neuron.
rule page:
    """Make the page of one neuron."""
    input:
        neuron="results/{run}/neurons/{neuron}.npz",
        effect=of(flow.effect_of_neuron),
        descriptions=of(flow.taken_descriptions),
        explanation=of(flow.explanation_of_neuron),
        summary=of(flow.summary_of_neuron),
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
        version="results/{run}/versions/page.json",
    output:
        report(
            "results/{run}/site/{neuron}.html",
            category="Neurons of {run}",
            subcategory=of(flow.layer_of),
            labels={"neuron": "{neuron}"},
            caption="../docs/report/page.rst",
        ),
    log:
        "logs/page/{run}/{neuron}.log",
    localrule: True
    script:
        "../scripts/page.py"


rule pages:
    """Make the pages of all listed neurons of a batch that have none newer than what they come from."""
    input:
        neurons=of(flow.recomputed_for_batch),
        effect=of(flow.effect_of_batch),
        descriptions=of(flow.taken_descriptions),
        explanation=of(flow.explanations),
        summary="results/{run}/summary.zarr/zarr.json",
        weights="results/{run}/weights.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        tokenizer=of(flow.tokenizer_of_pages),
        version="results/{run}/versions/page.json",
    output:
        touch("results/{run}/done/page-L{layer}-N{low}-{high}"),
    log:
        "logs/page/{run}/L{layer}-N{low}-{high}.log",
    params:
        neurons=of(flow.neurons_of_batch),
    script:
        "../scripts/page.py"
