# Gate and in at every token of the example texts: of one neuron, or of a batch of listed neurons of a layer.
localrules:
    stage_code,


rule stage_code:
    """Write down the digest of a stage's code. What is made in bulk is older or newer than this file."""
    output:
        RUN.code("{stage}"),
    params:
        code=lambda wildcards: flow.code(wildcards.stage),
    log:
        "logs/stage_code/{run}-{stage}.log",
    shell:
        "echo {params.code} > {output} 2> {log}"


rule recompute:
    """Compute gate and in of one neuron at its example texts."""
    input:
        summary=summary_of_neuron,
        model=RUN.model,
        tokens=tokens_of_run,
        caches=caches_for_pages,
        code=RUN.code("recompute"),
    output:
        RUN.neuron("{layer}", "{neuron}"),
    params:
        source=of_run("pages_source"),
    log:
        "logs/recompute/{run}/L{layer}-N{neuron}.log",
    threads: 2
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(30),
        device=of_run("device"),
        batch_tokens=batch_tokens,
    script:
        "../scripts/recompute.py"


rule recompute_batch:
    """Compute gate and in of all listed neurons of a batch that have none newer than what they come from."""
    input:
        summary=RUN.summary,
        model=RUN.model,
        tokens=tokens_of_run,
        caches=caches_for_pages,
        code=RUN.code("recompute"),
    output:
        touch(RUN.done("recompute", "{layer}", "{low}", "{high}")),
    params:
        source=of_run("pages_source"),
        neurons=neurons_of_batch,
    log:
        "logs/recompute/{run}/L{layer}-N{low}-{high}.log",
    threads: 2
    resources:
        mem_mb=megabytes(8000),
        runtime=minutes(120),
        device=of_run("device"),
        batch_tokens=batch_tokens,
    script:
        "../scripts/recompute.py"
