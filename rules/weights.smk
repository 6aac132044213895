# What a neuron's weights say by themselves.
rule weights:
    """Cosines, norms, read-write class and top tokens of every neuron."""
    input:
        RUN.model,
    output:
        RUN.weights,
    log:
        "logs/weights/{run}.log",
    threads: 8
    params:
        version=version("weights"),
    script:
        "../scripts/weights.py"
