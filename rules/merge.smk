# Shards -> one summary.
rule merge:
    """Join the statistics of all shards; write them in the run's sign convention."""
    input:
        scans=for_run(flow.scans),
        model=RUN.model,
        plan=RUN.plan,
        tokens=tokens_of_run,
    output:
        RUN.summary,
    log:
        "logs/merge/{run}.log",
    params:
        settings=settings("merge"),
        scanned_with=for_run(flow.scanned_with),
        version=version("merge"),
    script:
        "../scripts/merge.py"
