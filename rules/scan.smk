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
        k=of_run("k"),
        samples=of_run("samples"),
        seed=of_run("seed"),
        dtype=of_run("dtype"),
        cache_dtype=of_run("cache_dtype"),
        rows=refusing(
            lambda wildcards: flow.rows_of_shard(wildcards.run, wildcards.shard)
        ),
        code=code("scan"),
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
        k=of_run("k"),
        samples=of_run("samples"),
        seed=of_run("seed"),
        dtype=of_run("dtype"),
        rows=refusing(
            lambda wildcards: flow.rows_of_shard(wildcards.run, wildcards.shard)
        ),
        code=code("scan"),
