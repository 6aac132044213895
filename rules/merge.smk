# Shards -> one summary.
rule merge:
    """Join the statistics of all shards; write them in the run's sign convention."""
    input:
        scans=scans_of_run,
        model=RUN.model,
    output:
        RUN.summary,
    params:
        refactor_glu=of_run("refactor_glu"),
        code=code("merge"),
    log:
        "logs/merge/{run}.log",
    resources:
        mem_mb=megabytes(8000),
        runtime=minutes(60),
    script:
        "../scripts/merge.py"
