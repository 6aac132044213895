"""Examples for other explainers: true to a count over all tokens, and such that delphi's own rules hold for them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import export_explainers
import numpy as np
import pytest
from gluscope.core.activation import act
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.convention import view
from gluscope.core.neuron import NeuronId
from gluscope.dataset.reader import TokenDataset
from gluscope.descriptions.types import Descriptions
from gluscope.explain.examples import Split
from gluscope.explain.source import Source
from gluscope.export.explainers import DELPHI, EXAMPLES, latent_record, module_name, read_as_text, write_explainers
from gluscope.page.tokens import TokenTexts
from gluscope.recompute.types import Recomputed
from gluscope.summary.file import SummaryReader
from gluscope.workflow.whole import check_whole
from helpers.checkout import REPO
from helpers.tiny_run import NEURONS, TinyRun
from tokenizers import Tokenizer

LISTED = {str(layer): ",".join(map(str, neurons)) for layer, neurons in NEURONS.items()}
ALL = [NeuronId(layer, neuron) for layer, neurons in NEURONS.items() for neuron in neurons]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRun]:
    folder = tmp_path_factory.mktemp("explainers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = TinyRun()
        run.make()
        yield run


def source(run: TinyRun) -> Source:
    return Source.open(run.run.model, run.run.summary, run.data.tokens, run.run.neuron)


def texts_of(run: TinyRun) -> Any:
    return read_as_text(TokenTexts.read(run.data.folder))


def written(run: TinyRun) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    neurons = export_explainers.neurons(source(run), Descriptions.build({}), LISTED)
    count = write_explainers("out", neurons, texts_of(run))
    check_whole("out")
    found = [
        [json.loads(line) for line in Path("out", name).read_text(encoding="utf-8").splitlines()]
        for name in (EXAMPLES, DELPHI)
    ]
    assert count == len(found[0]) > 40
    return found[0], found[1]


def values_of(neuron: NeuronId, run: TinyRun) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """gate and in of all its texts in the run's convention, by row."""
    summary = SummaryReader(run.run.summary)
    assert summary.provenance.convention == "refactored"
    sign = int(summary.sign()[neuron.layer][neuron.neuron])
    found = view(Recomputed.read(run.run.neuron(neuron), neuron), sign, "raw", "refactored")
    ends = np.cumsum(found.lengths)[:-1]
    parts = zip(np.split(found.gate, ends), np.split(found.in_, ends), strict=True)
    return dict(zip(found.rows.tolist(), parts, strict=True))


def test_each_window_is_what_its_line_says(made: TinyRun) -> None:
    lines, _ = written(made)
    data, skipped = TokenDataset.open(made.data.folder), SummaryReader(made.run.summary).provenance.skipped_ids
    values = {neuron: values_of(neuron, made) for neuron in ALL}
    names, seen, whole = texts_of(made), set(), 0
    tokenizer = Tokenizer.from_file(f"{made.data.folder}/tokenizer.json")
    for line in lines:
        neuron, case = NeuronId(line["layer"], line["neuron"]), SignCase(line["case"])
        ids, part = data.input_ids(line["row"]), slice(line["begin"], line["begin"] + len(line["ids"]))
        assert line["ids"] == ids[part].tolist()
        assert line["tokens"] == names(line["ids"])
        text = tokenizer.decode(line["ids"], skip_special_tokens=False)
        whole += "é" in text
        if "\ufffd" not in text:  # else the window begins or ends within a character
            assert "".join(line["tokens"]) == text
        gate, in_ = (own[part] for own in values[neuron][line["row"]])
        inside = (np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign) & ~np.isin(ids[part], list(skipped))
        expected = np.where(inside, np.abs(act("silu")(gate) * in_), 0)
        np.testing.assert_allclose(line["values"], expected, rtol=1e-6)
        assert line["post_sign"] == case.sign(Quantity.POST)
        assert line["peak"] == max(line["values"])
        assert line["active"] == (line["group"] in ("train", "test", "just_under"))
        tokens = {(neuron, case, line["row"], position) for position in range(part.start, part.stop)}
        assert not seen & tokens
        seen |= tokens
    assert whole > 5


def test_groups_keep_to_the_weakest_value_listed(made: TinyRun) -> None:
    """By the summary's own lists: train and test have the list's values, near misses less, negatives under half."""
    lines, _ = written(made)
    summary = SummaryReader(made.run.summary)
    groups = set()
    for neuron in ALL:
        lists = np.abs(summary.neuron(neuron.layer, neuron.neuron).extreme_value[0, :, Quantity.POST.index])
        for case in CASES:
            own = [line for line in lines if (line["layer"], line["neuron"]) == (neuron.layer, neuron.neuron)]
            own = [line for line in own if line["case"] == case.value]
            listed = lists[case.index][~np.isnan(lists[case.index])]
            assert bool(own) == bool(len(listed))
            for line in own:
                groups.add(line["group"])
                about = line["values"][line["at"]]
                if line["group"] in ("train", "test"):
                    assert np.isclose(listed, about, rtol=2e-3).any()
                elif line["group"] == "just_under":
                    assert 0 < line["peak"] == about < listed.min() * 1.002
                else:
                    assert line["peak"] < listed.min() / 2 * 1.002
    assert groups == {"train", "test", "just_under", "other_case", "inactive"}


def test_delphis_records_are_the_same_windows_and_follow_its_rules(made: TinyRun) -> None:
    lines, records = written(made)
    names = [(record["latent"]["module_name"], record["latent"]["latent_index"]) for record in records]
    assert len(set(names)) == len(names)
    for record, (module, index) in zip(records, names, strict=True):
        found = re.fullmatch(r"layers\.(\d+)\.mlp\.gate-(pos|neg)-in-(pos|neg)", module)
        assert found
        signs = {"pos": "+", "neg": "-"}
        case = f"gate{signs[found[2]]}_in{signs[found[3]]}"
        own = [line for line in lines if (line["layer"], line["neuron"], line["case"]) == (int(found[1]), index, case)]
        by_group: dict[str, list[list[int]]] = {}
        for line in own:
            by_group.setdefault(line["group"], []).append(line["ids"])
        parts = {name: [one["tokens"] for one in record[name]] for name in ("train", "test", "extra_examples")}
        assert parts["train"] == by_group["train"]
        assert parts["test"] == by_group.get("test", [])
        assert parts["extra_examples"] == by_group.get("just_under", [])
        negatives = [(one["tokens"], one["distance"]) for one in record["not_active"]]
        assert negatives == [
            *((ids, 0.0) for ids in by_group.get("other_case", [])),
            *((ids, -1.0) for ids in by_group.get("inactive", [])),
        ]
        peaks = [max(one["activations"]) for one in record["examples"]]
        assert peaks == sorted(peaks, reverse=True)
        assert len(peaks) == len(record["train"]) + len(record["test"])
        for one in record["examples"]:
            steps = [min(10, math.ceil(value * 10 / peaks[0])) for value in np.float32(one["activations"])]
            assert np.abs(np.subtract(one["normalized_activations"], steps)).max() <= 1  # at a border by rounding
            assert len(one["str_tokens"]) == len(one["tokens"]) == len(one["activations"])
        assert 0 < record["per_token_frequency"] < 1


def test_the_snippet_of_the_docs_makes_delphis_objects(made: TinyRun) -> None:
    """Its classes are stood in for by what they are: fields, of which some must be there."""
    _, records = written(made)
    text = (REPO / "docs/exports.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "LatentRecord" in block]

    def kind(name: str, *needed: str, may: tuple[str, ...] = ()) -> Any:
        def build(**fields: Any) -> Any:
            assert set(needed) <= set(fields) <= {*needed, *may}, name
            return SimpleNamespace(kind=name, **fields)

        return build

    example = ("tokens", "activations")
    stand_in = {
        "ActivatingExample": kind("active", *example, may=("normalized_activations", "str_tokens", "quantile")),
        "NonActivatingExample": kind("inactive", *example, "str_tokens", may=("distance",)),
        "Latent": kind("latent", "module_name", "latent_index"),
        "LatentRecord": kind("record", "latent", may=(
            "examples", "not_active", "train", "test", "neighbours", "explanation", "extra_examples",
            "per_token_frequency", "per_context_frequency",
        )),
    }  # fmt: skip
    scope: dict[str, Any] = dict(stand_in)
    exec(re.sub(r"^from delphi.*\n", "", code, flags=re.M), scope)
    for record in records:
        found = scope["record"](json.dumps(record))
        assert {one.kind for one in found.not_active} <= {"inactive"}
        assert {one.kind for one in found.train} == {"active"}
        assert found.train[0].activations.max().item() > 0
        assert found.latent.latent_index == record["latent"]["latent_index"]


def test_words_and_names_of_experts(made: TinyRun) -> None:
    neuron = next(export_explainers.neurons(source(made), Descriptions.build({}), {"1": "7"}))
    case = next(case for case, found in neuron.cases.items() if found.train)
    assert latent_record(neuron, case, texts_of(made))["explanation"] == ""
    neuron.words[case] = "names"  # type: ignore[index]
    assert latent_record(neuron, case, texts_of(made))["explanation"] == "names"
    name = module_name(NeuronId(5, 3, "E12"), SignCase.GATE_POS_IN_NEG)
    assert name == "layers.5.mlp.E12.gate-pos-in-neg"
    assert source(made).examples(NeuronId(1, 7), Split(), "refactored").keys() == set(CASES)
