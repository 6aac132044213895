# Two runs over the same tokens: another number format, another checkpoint. docs/precision.md.
rule compare:
    """Say how a run differs from another run on the same data set: lists, frequencies, signs, single neurons."""
    input:
        summary="results/{run}/summary.zarr/zarr.json",
        reference=of(flow.reference_of),
    output:
        "results/{run}/compare/{reference}.json",
    log:
        "logs/compare/{run}/{reference}.log",
    params:
        version=of(flow.version, stage="compare"),
    script:
        "../scripts/compare.py"
