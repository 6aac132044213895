# What others say of the neurons in words: read once, checked, and kept for pages, search and table. For runs with
# `descriptions`.
rule take_descriptions:
    """Take in what others say of a run's neurons; refuse what is damaged, or of another model."""
    input:
        given=of(flow.description_files),
        model="results/{run}/model.json",
    output:
        "results/{run}/descriptions.npz",
    log:
        "logs/take_descriptions/{run}.log",
    localrule: True
    params:
        settings=of(flow.settings, stage="take_descriptions"),
        files=of(flow.stamp_of_descriptions),
        version=of(flow.version, stage="take_descriptions"),
    script:
        "../scripts/take_descriptions.py"
