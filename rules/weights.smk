# What a neuron's weights say by themselves.
rule weights:
    """Cosines, norms, read-write class and top tokens of every neuron."""
    input:
        RUN.model,
    output:
        RUN.weights,
    params:
        code=code("weights"),
    log:
        "logs/weights/{run}.log",
    threads: 8
    resources:
        mem_mb=megabytes(16000),
        runtime=minutes(60),
    script:
        "../scripts/weights.py"
