# What a neuron's weights say by themselves.
rule weights:
    """Cosines, norms, read-write class and top tokens of every neuron."""
    input:
        "results/{run}/model.json",
    output:
        "results/{run}/weights.zarr/zarr.json",
    log:
        "logs/weights/{run}.log",
    threads: 8
    params:
        version=of(flow.version, stage="weights"),
    script:
        "../scripts/weights.py"
