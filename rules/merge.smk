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
        refactor_glu=of_run("refactor_glu"),
        settings=for_run(flow.scan_settings),
        code=code("merge"),
    script:
        "../scripts/merge.py"
