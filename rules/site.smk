# The way to the pages of a run.
localrules:
    site_index,


rule site_index:
    """Make the start page of a run's site, with its pages and a finder over all neurons."""
    input:
        pages=for_run(flow.page_files),
        summary=RUN.summary,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        tokenizer=tokenizer_of_run,
    output:
        RUN.index,
    log:
        "logs/site_index/{run}.log",
    params:
        unlisted=for_run(flow.unlisted),
        version=version("site_index"),
    script:
        "../scripts/site_index.py"
