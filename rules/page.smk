# One self-contained HTML file a neuron.
localrules:
    page,


rule page:
    """Make the page of one neuron."""
    input:
        neuron=RUN.neuron("{neuron}"),
        summary=summary_of_neuron,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        tokenizer=tokenizer_of_run,
        version=RUN.version("page"),
    output:
        report(
            RUN.page("{neuron}"),
            category="Neurons of {run}",
            subcategory=layer_of,
            labels={"neuron": "{neuron}"},
            caption="../docs/report/page.rst",
        ),
    log:
        "logs/page/{run}/{neuron}.log",
    script:
        "../scripts/page.py"


rule pages:
    """Make the pages of all listed neurons of a batch that have none newer than what they come from."""
    input:
        neurons=recomputed_for_batch,
        summary=RUN.summary,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        tokenizer=tokenizer_of_run,
        version=RUN.version("page"),
    output:
        touch(RUN.done("page", "{layer}", "{low}", "{high}")),
    log:
        "logs/page/{run}/L{layer}-N{low}-{high}.log",
    params:
        neurons=neurons_of_batch,
    script:
        "../scripts/page.py"
