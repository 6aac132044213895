# In place of a scan: statistics that somebody has published.
localrules:
    fetch_activations,


rule fetch_activations:
    """Fetch a run's published activations from the hub; write which revision."""
    output:
        RUN.activations,
    log:
        "logs/fetch_activations/{run}.log",
    wildcard_constraints:
        run=TAKEN,
    params:
        settings=settings("fetch_activations"),
        version=version("fetch_activations"),
    script:
        "../scripts/fetch_activations.py"


rule take_activations:
    """Make a run's summary from published activations; refuse those of another model or data set."""
    input:
        activations=for_run(flow.activation_files),
        model=RUN.model,
        tokens=tokens_of_run,
    output:
        RUN.summary,
    log:
        "logs/take_activations/{run}.log",
    wildcard_constraints:
        run=TAKEN,
    params:
        settings=settings("take_activations"),
        version=version("take_activations"),
    script:
        "../scripts/take_activations.py"


ruleorder: take_activations > merge
