# One self-contained HTML file a neuron.
rule page:
    """Make the page of one neuron."""
    input:
        neuron=RUN.neuron("{layer}", "{neuron}"),
        summary=summary_of_neuron,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        code=RUN.code("page"),
    output:
        RUN.page("{layer}", "{neuron}"),
    log:
        "logs/page/{run}/L{layer}-N{neuron}.log",
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(10),
    script:
        "../scripts/page.py"


rule pages:
    """Make the pages of all listed neurons of a batch that have none newer than what they come from."""
    input:
        neurons=RUN.done("recompute", "{layer}", "{low}", "{high}"),
        summary=RUN.summary,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        code=RUN.code("page"),
    output:
        touch(RUN.done("page", "{layer}", "{low}", "{high}")),
    params:
        neurons=neurons_of_batch,
    log:
        "logs/page/{run}/L{layer}-N{low}-{high}.log",
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(120),
    script:
        "../scripts/page.py"
