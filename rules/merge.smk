# Shards -> one summary.
rule merge:
    """Join the statistics of all shards; write them in the run's sign convention."""
    input:
        scans=of(flow.scans),
        model="results/{run}/model.json",
        plan="results/{run}/plan.json",
        tokens=of(flow.tokens),
    output:
        "results/{run}/summary.zarr/zarr.json",
    log:
        "logs/merge/{run}.log",
    wildcard_constraints:
        run=SCANNED,
    params:
        settings=of(flow.settings, stage="merge"),
        scanned_with=of(flow.scanned_with),
        version=of(flow.version, stage="merge"),
    script:
        "../scripts/merge.py"
