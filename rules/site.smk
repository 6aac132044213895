# The way to the pages of a run.
localrules:
    site_index,


rule site_index:
    """Make the start page of a run's site, with its listed pages."""
    input:
        pages=listed_pages,
        summary=RUN.summary,
        model=RUN.model,
    output:
        RUN.index,
    log:
        "logs/site_index/{run}.log",
    params:
        unlisted=refusing(lambda wildcards: flow.unlisted(wildcards.run)),
        code=code("site_index"),
    script:
        "../scripts/site_index.py"
