# Shards -> one summary.
rule merge:
    """Join the statistics of all shards; write them in the run's sign convention."""
    input:
        scans=scans_of_run,
        model=RUN.model,
        plan=RUN.plan,
        tokens=tokens_of_run,
    output:
        RUN.summary,
    log:
        "logs/merge/{run}.log",
    params:
        refactor_glu=of_run("refactor_glu"),
        settings=refusing(lambda wildcards: flow.scan_settings(wildcards.run)),
        code=code("merge"),
    script:
        "../scripts/merge.py"
