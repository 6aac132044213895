"""File names stand in the rules, for people, and in `core/paths.py`, for Python: they are the same."""

from __future__ import annotations

import re

from gluscope.core.paths import DatasetPaths, RunPaths
from helpers.checkout import REPO

RUN, DATASET = RunPaths("{run}"), DatasetPaths("{dataset}")
SIDES = (f"results/{{run}}/compare/{{reference}}/{two}.html" for two in ("{neuron}", "{neuron}-{other}"))
KNOWN = {
    RUN.model, RUN.plan, RUN.scan("{shard}"), RUN.cache("{shard}"), RUN.summary, RUN.activations, RUN.weights,
    RUN.replay("{shard}"), RUN.neuron("{neuron}"), RUN.version("{stage}"), RUN.version("recompute"),
    RUN.version("page"), RUN.done("recompute", "{layer}", "{low}", "{high}"),
    RUN.done("page", "{layer}", "{low}", "{high}"), RUN.effect("{neuron}"), RUN.version("effect"),
    RUN.done("effect", "{layer}", "{low}", "{high}"), RUN.explanation("{neuron}"), RUN.explained,
    RUN.version("explain"), RUN.index, RUN.page("{neuron}"),
    RUN.export_hf, RUN.export_site, RUN.export_neuronpedia,
    RUN.neurons_table, RUN.compared("{reference}"), *SIDES, RUN.sampled_activations,
    RUN.descriptions, RUN.export_explainers,
    DATASET.tokens, DATASET.source, "results/sources/python-docs.jsonl",
}  # fmt: skip


def test_rules_and_library_name_the_same_files() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (REPO / "rules").glob("*.smk"))
    assert set(re.findall(r'"(results/[^"]+)"', text.replace("{wildcards.", "{"))) == KNOWN


def test_the_rules_read_as_a_table_of_contents() -> None:
    """Every output is a name that one can search for; no lambda stands in a rule; each rule says what it does."""
    for file in sorted((REPO / "rules").glob("*.smk")):
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= (150 if file.name == "common.smk" else 120), file.name
        if file.name == "common.smk":
            assert not re.search(r"^(use )?(rule|checkpoint) ", text, re.M)
            continue
        assert "lambda" not in text, file.name
        for output in re.findall(r"^    output:\n((?:        .*\n)+)", text, re.M):
            assert '"results/' in output, f"{file.name}: {output}"
        for head in re.findall(r"^(?:rule|checkpoint) \w+:\n(.*)", text, re.M):
            assert head.startswith('    """'), f"{file.name}: {head}"
