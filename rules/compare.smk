# Two runs over the same tokens: another number format, another checkpoint. docs/precision.md.
rule compare:
    """Say how a run differs from another run on the same data set: lists, frequencies, signs, single neurons."""
    input:
        unpack(compared),
    output:
        RUN.compared("{reference}"),
    log:
        "logs/compare/{run}/{reference}.log",
    params:
        version=version("compare"),
    script:
        "../scripts/compare.py"
