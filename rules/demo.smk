# The demo's texts.
rule demo_text:
    """Collect the prose of Python's own documentation as this machine has it."""
    output:
        "results/sources/python-docs.jsonl",
    params:
        code=code("demo_text"),
    log:
        "logs/demo_text.log",
    script:
        "../scripts/demo_text.py"
