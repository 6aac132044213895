# With `pages_from: replay`: a second forward pass over each shard, of which the listed neurons' pages keep what they show.
rule replay:
    """Run the model over a shard's texts again; keep gate and in of the listed neurons where their pages show them."""
    input:
        summary="results/{run}/summary.zarr/zarr.json",
        model="results/{run}/model.json",
        tokens=of(flow.tokens),
        plan="results/{run}/plan.json",
    output:
        "results/{run}/replay/{shard}.zarr/zarr.json",
    log:
        "logs/replay/{run}/{shard}.log",
    wildcard_constraints:
        run=REPLAYED,
    threads: 8
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        settings=of(flow.settings, stage="replay"),
        version=of(flow.version, stage="replay"),
    script:
        "../scripts/replay.py"
