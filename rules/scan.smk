# The forward pass over one shard: statistics of every neuron and, where the run asks for one, the cache.
rule scan:
    """Run the model over a shard: counts, sums, extremes and samples of every neuron, and its MLP inputs."""
    input:
        model=RUN.model,
        tokens=ancient(tokens_of_run),
        plan=plan_of_shard,
    output:
        scan=RUN.scan("{shard}"),
        cache=RUN.cache("{shard}"),
    log:
        "logs/scan/{run}/{shard}.log",
    benchmark:
        "benchmarks/scan/{run}/{shard}.tsv"
    wildcard_constraints:
        run=CACHED,
    threads: 8
    resources:
        device=of_run("device"),
        batch_tokens=batch_tokens,
    params:
        settings=settings("scan"),
        rows=refusing(
            lambda wildcards: flow.rows_of_shard(wildcards.run, wildcards.shard)
        ),
        version=version("scan"),
    script:
        "../scripts/scan.py"


use rule scan as scan_without_cache with:
    output:
        scan=RUN.scan("{shard}"),
    log:
        "logs/scan/{run}/{shard}.log",
    wildcard_constraints:
        run=f"(?!({CACHED})/)[^/]+",
    params:
        settings=settings("scan"),
        rows=refusing(
            lambda wildcards: flow.rows_of_shard(wildcards.run, wildcards.shard)
        ),
        version=version("scan"),
