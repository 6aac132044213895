# With `pages_from: replay`: a second forward pass over each shard, of which the listed neurons' pages keep what they show.
rule replay:
    """Run the model over a shard's texts again; keep gate and in of the listed neurons where their pages show them."""
    input:
        summary=RUN.summary,
        model=RUN.model,
        tokens=tokens_of_run,
        plan=RUN.plan,
    output:
        RUN.replay("{shard}"),
    log:
        "logs/replay/{run}/{shard}.log",
    wildcard_constraints:
        run=REPLAYED,
    threads: 8
    resources:
        device=of_run("device"),
        batch_tokens=batch_tokens,
    params:
        settings=settings("replay"),
        version=version("replay"),
    script:
        "../scripts/replay.py"
