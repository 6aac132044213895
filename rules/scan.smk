# The forward pass over one shard: statistics of every neuron and, where the run asks for one, the cache.
rule scan:
    """Run the model over a shard: counts, sums, extremes and samples of every neuron, and its MLP inputs."""
    input:
        model="results/{run}/model.json",
        tokens=ancient(of(flow.tokens)),
        plan=plan_of_shard,
    output:
        scan="results/{run}/scan/{shard}.zarr.zip",
        cache="results/{run}/cache/{shard}.zarr/zarr.json",
    log:
        "logs/scan/{run}/{shard}.log",
    benchmark:
        "benchmarks/scan/{run}/{shard}.tsv"
    wildcard_constraints:
        run=CACHED,
    threads: 8
    resources:
        gpus=of(flow.gpus),
        device=of(flow.device),
        batch_tokens=batch_tokens,
    params:
        settings=of(flow.settings, stage="scan"),
        rows=of(flow.rows_of_shard),
        version=of(flow.version, stage="scan"),
    script:
        "../scripts/scan.py"


use rule scan as scan_without_cache with:
    output:
        scan="results/{run}/scan/{shard}.zarr.zip",
    wildcard_constraints:
        run=NOT_CACHED,
