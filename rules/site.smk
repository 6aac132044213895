# The way to the pages of a run.
rule site_index:
    """Make the start page of a run's site, with its listed pages."""
    input:
        pages=listed_pages,
        model=RUN.model,
    output:
        RUN.index,
    params:
        code=code("site_index"),
    log:
        "logs/site_index/{run}.log",
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(30),
    script:
        "../scripts/site_index.py"
