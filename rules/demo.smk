# The demo's texts.
localrules:
    demo_text,


rule demo_text:
    """Collect the prose of Python's own documentation as this machine has it."""
    output:
        "results/sources/python-docs.jsonl",
    log:
        "logs/demo_text.log",
    params:
        version=version("demo_text"),
    script:
        "../scripts/demo_text.py"
