# Two neurons on one page: of two runs over the same tokens, or of one run.
rule side_by_side:
    """Make the page of a neuron beside the same one of another run, or beside another neuron."""
    input:
        unpack(of(flow.side_by_side)),
    output:
        "results/{run}/compare/{reference}/{neuron}.html",
    log:
        "logs/side_by_side/{run}/{reference}/{neuron}.log",
    localrule: True
    params:
        version=of(flow.version, stage="side_by_side"),
    script:
        "../scripts/side_by_side.py"


use rule side_by_side as side_by_side_with_another with:
    input:
        unpack(of(flow.side_by_side)),
    output:
        "results/{run}/compare/{reference}/{neuron}-{other}.html",
    log:
        "logs/side_by_side/{run}/{reference}/{neuron}-{other}.log",
    localrule: True
    params:
        version=of(flow.version, stage="side_by_side"),
