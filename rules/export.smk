# Results for other tools, in the refactored convention where their formats have it. docs/exports.md.
rule export_hf:
    """Write the statistics of all neurons as a published activation data set."""
    input:
        RUN.summary,
    output:
        RUN.export_hf,
    log:
        "logs/export_hf/{run}.log",
    params:
        version=version("export_hf"),
    script:
        "../scripts/export_hf.py"


rule export_gluscope_site:
    """Write the listed neurons as a folder of the GLUScope site."""
    input:
        neurons=for_run(flow.neuron_files),
        summary=RUN.summary,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        tokenizer=tokenizer_of_run,
    output:
        RUN.export_site,
    log:
        "logs/export_gluscope_site/{run}.log",
    params:
        settings=settings("export_gluscope_site"),
        version=version("export_gluscope_site"),
    script:
        "../scripts/export_gluscope_site.py"


rule export_neuronpedia:
    """Write the listed neurons in Neuronpedia's export layout."""
    input:
        neurons=for_run(flow.neuron_files),
        summary=RUN.summary,
        weights=RUN.weights,
        model=RUN.model,
        tokens=tokens_of_run,
        tokenizer=tokenizer_of_run,
    output:
        RUN.export_neuronpedia,
    log:
        "logs/export_neuronpedia/{run}.log",
    params:
        settings=settings("export_neuronpedia"),
        version=version("export_neuronpedia"),
    script:
        "../scripts/export_neuronpedia.py"
