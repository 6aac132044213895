# A table of all neurons for DuckDB, pandas, polars. docs/analysis.md.
rule export_neurons:
    """Write the statistics of every neuron as a Parquet table, one row a neuron."""
    input:
        summary=RUN.summary,
        weights=RUN.weights,
    output:
        RUN.neurons_table,
    log:
        "logs/export_neurons/{run}.log",
    params:
        version=version("export_neurons"),
    script:
        "../scripts/export_neurons.py"
