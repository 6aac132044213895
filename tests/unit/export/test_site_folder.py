"""A GLUScope site folder: against a real one (needs ../shared/data), and with what no real one has."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.core.provenance import RunProvenance
from gluscope.export.site_folder import entries, example, merge_into, merged, title, write_neuron, write_site
from helpers.pages import HOSTILE, make
from helpers.published_site import published_stats, read_published

ARCHIVE = Path(__file__).parents[3].parent / "shared/data/olmo-7b-0424-L5-N10602.tar.xz"
MODEL = "OLMo-7B-0424"
DISPLAY = float(np.float32(-1e-7))  # what the original tool puts for 0 among negative values, for its colour scale


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not ARCHIVE.exists():
        if os.environ.get("CI") == "true" and ARCHIVE.parent.exists():
            pytest.fail(f"{ARCHIVE} is missing")
        pytest.skip("needs the published neuron in ../shared/data, which is not part of this repository")
    target = tmp_path_factory.mktemp("published")
    with tarfile.open(ARCHIVE) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in Python 3.11.2
        archive.extractall(target, **safe)
    return next(target.rglob("vis.html")).parent


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lists(folder: Path) -> dict[str, list[Any]]:
    """The examples of each list, in an order that does not hang on the last bits of their values."""
    return {
        f"{case.value}_{quantity.hook}": sorted(
            (read(path) for path in folder.glob(f"{case.value}_{quantity.hook}_example_*.json")),
            key=lambda found: (found["tokens"], found["values"]),
        )
        for case, quantity in LISTS
    }


def own_noise(examples: list[Any]) -> float:
    """By how much gate and in of one text differ between the files in which it stands: each had its forward pass."""
    longest: dict[tuple[str, ...], np.ndarray] = {}
    noise = 0.0
    for found in sorted(examples, key=lambda found: -len(found["tokens"])):
        tokens, values = tuple(found["tokens"]), np.array(found["values"])[:, -3:-1]
        copy = next((known for text, known in longest.items() if text[: len(tokens)] == tokens), None)
        if copy is None:
            longest[tokens] = values
        else:
            noise = max(noise, float(np.abs(copy[: len(tokens)] - values).max()))
    return noise


def test_a_published_neuron_comes_back_as_it_was(published: Path, tmp_path: Path) -> None:
    """Published files -> our record -> their files: every field of all 225.

    Within a list, extremes that are equal but for their last bits may change places. Of one the original tool has found
    the extreme at a later token than we do, where swish's minimum makes many tokens equal: its text is longer.
    """
    write_neuron(tmp_path / "N", read_published(published, NeuronId(5, 10602), run="olmo"), MODEL)
    assert {path.name for path in (tmp_path / "N").iterdir()} == {path.name for path in published.iterdir()}
    theirs_by_list, longer = lists(published), []
    noise = own_noise([found for several in theirs_by_list.values() for found in several])
    assert noise < 1e-5
    for name, ours in lists(tmp_path / "N").items():
        for new, old in zip(ours, theirs_by_list[name], strict=True):
            assert list(new) == list(old)
            assert new["labels"] == old["labels"]
            kept = len(new["tokens"])
            assert new["tokens"] == old["tokens"][:kept]
            values, theirs = np.array(new["values"]), np.array(old["values"])
            alone = len(old["labels"]) - 4
            theirs[:, :alone][theirs[:, :alone] == DISPLAY] = 0
            if kept < len(old["tokens"]):
                longer.append(name)
                assert np.abs(values[:, 0]).max() >= np.abs(theirs[:, 0]).max() * (1 - 2**-22)
                theirs = theirs[:kept]
            np.testing.assert_array_equal(values == 0, theirs == 0, name)
            error = np.abs(values - theirs)
            assert error[:, -3:-1].max() <= noise, name
            # act' lies within 1.1, so that act and post = act in move by as much as that lets them, and are rounded.
            size = np.abs(theirs[:, -4:]).max(axis=1, keepdims=True)
            assert (error <= noise * (1.1 + 2.1 * size) + 2**-21 * np.abs(theirs)).all(), name
    assert longer == ["gate-_in+_swish"]
    assert published_stats(tmp_path / "N/vis.html") == published_stats(published / "vis.html")


def test_texts_end_two_tokens_after_their_extreme_and_values_outside_the_case_are_zero(tmp_path: Path) -> None:
    page = make(length=30).build(convention="refactored")
    write_neuron(tmp_path / "N", page, MODEL)
    for case, quantity in LISTS:
        for i, place in enumerate(page.cases[case].extreme[quantity]):
            found = read(tmp_path / f"N/{case.value}_{quantity.hook}_example_{i}.json")
            own = page.values(place.example)
            assert len(found["tokens"]) == len(found["values"]) == min(place.position + 3, len(own[quantity]))
            first, *rest = np.array(found["values"]).T
            inside = np.array([case.gate_sign, case.in_sign])
            signs = np.sign([own[Quantity.GATE], own[Quantity.IN]])[:, : len(first)]
            np.testing.assert_array_equal(first, own[quantity][: len(first)] * (inside == signs.T).all(1))
            for column, q in zip(rest[-4:], (Quantity.POST, Quantity.IN, Quantity.GATE, Quantity.ACT), strict=True):
                np.testing.assert_array_equal(column, own[q][: len(first)])
            second = [f"{case.value}_swish"] if quantity is Quantity.GATE and case.gate_sign > 0 else []
            assert found["labels"][:-4] == [f"{case.value}_{quantity.hook}", *second]


def test_a_run_in_the_raw_convention_is_shown_refactored(tmp_path: Path) -> None:
    made = make(length=30)  # its sign is -1
    raw, refactored = made.build(), made.build(convention="refactored")
    for name, page in (("raw", raw), ("refactored", refactored)):
        write_neuron(tmp_path / name, page, MODEL)
    assert raw.convention == "raw"
    files = sorted(path.name for path in (tmp_path / "raw").iterdir())
    assert len(files) > 1
    for name in files:
        assert (tmp_path / "raw" / name).read_bytes() == (tmp_path / "refactored" / name).read_bytes()


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    page = make(words=HOSTILE).build()
    write_neuron(tmp_path / "N", page, MODEL)
    seen = set()
    for path in (tmp_path / "N").glob("*.json"):
        assert path.read_bytes().isascii()
        seen.update(read(path)["tokens"])
    assert seen - {"<|endoftext|>"} <= set(HOSTILE)
    assert len(seen) > 10
    html = (tmp_path / "N/vis.html").read_text(encoding="utf-8")
    assert "Model: <b>org/model &lt;b&gt;</b>" in html
    assert not [word for word in HOSTILE if len(word) > 8 and word != "&lt;b&gt;" and word in html]


def test_an_empty_case_and_short_lists(tmp_path: Path) -> None:
    page = make(length=30).build(convention="refactored")
    empty, short = SignCase.GATE_NEG_IN_NEG, SignCase.GATE_POS_IN_POS
    none = dict.fromkeys(empty.listed, ())
    page.cases[empty] = type(page.cases[empty])(0, 0.0, dict.fromkeys(Quantity), none)
    page.cases[short].extreme[Quantity.POST] = page.cases[short].extreme[Quantity.POST][:1]
    write_neuron(tmp_path / "N", page, MODEL)
    names = {path.name for path in (tmp_path / "N").iterdir()}
    assert not [name for name in names if name.startswith(empty.value)]
    assert [name for name in names if name.startswith(f"{short.value}_hook_post")] == [
        "gate+_in+_hook_post_example_0.json"
    ]
    html = (tmp_path / "N/vis.html").read_text(encoding="utf-8")
    assert html.count("Avg: <b>–</b>") == 4
    assert "nan" not in html
    assert html.count('class="circuit-viz"') == len(names) - 1


def test_pages_are_merged_sorted_and_once() -> None:
    known = [
        {"title": "gemma-2-2b", "children": []},
        {"title": MODEL, "note": "kept", "children": [
            {"title": "L30", "children": [{"title": "N2", "url": f"{MODEL}/L30/N2/vis.html"}]},
            {"title": "L4", "children": [{"title": "N10859", "url": "x"}, {"title": "N1949", "url": "y"}]},
        ]},
    ]  # fmt: skip
    more = entries(MODEL, [NeuronId(30, 2), NeuronId(4, 300), NeuronId(10, 1)])
    found = merged(known, more)
    assert [entry["title"] for entry in found] == [MODEL, "gemma-2-2b"]
    assert found[0]["note"] == "kept"
    layers = {layer["title"]: [neuron["title"] for neuron in layer["children"]] for layer in found[0]["children"]}
    assert list(layers.items()) == [("L4", ["N300", "N1949", "N10859"]), ("L10", ["N1"]), ("L30", ["N2"])]
    assert found[0]["children"][0]["children"][1] == {"title": "N1949", "url": "y"}
    assert found[0]["children"][2]["children"] == [{"title": "N2", "url": f"{MODEL}/L30/N2/vis.html"}]
    assert merged(found, more) == found
    assert merged(known, []) == merged([], known)


def test_an_export_is_copied_into_a_site(tmp_path: Path) -> None:
    page, site, export = make(length=30).build(), tmp_path / "site", tmp_path / "export"
    old = site / MODEL / str(page.id)
    old.mkdir(parents=True)
    (old / "stale.json").write_text("{}")
    (site / "index.html").write_text("theirs")
    (site / "pages.json").write_text(json.dumps(entries("Llama-3.1-8B", [NeuronId(0, 0)])))
    assert write_site(export, MODEL, [page]) == 1
    assert merge_into(export, site) == 1
    assert {entry["title"] for entry in read(site / "pages.json")} == {"Llama-3.1-8B", MODEL}
    assert {path.name for path in old.iterdir()} == {path.name for path in (export / MODEL / str(page.id)).iterdir()}
    assert (site / "index.html").read_text() == "theirs"
    with pytest.raises(StoreError, match="a GLUScope site's list of pages"):
        merge_into(export, tmp_path)
    (site / "pages.json").write_text('{"title": 3}')
    with pytest.raises(StoreError, match=r"pages\.json"):
        merge_into(export, site)


def test_nothing_half_written(tmp_path: Path) -> None:
    page = make(length=30).build()
    write_site(tmp_path / "export", MODEL, [page])
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def stopped() -> Any:
        yield page
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_site(tmp_path / "export", "other", stopped())
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_titles_are_the_sites_own() -> None:
    hub = {"model": "allenai/OLMo-7B-0424-hf", "model_revision": "0123", "dataset": "sjgerstner/dolma-small"}
    assert title(RunProvenance.of(hub), "run") == MODEL
    assert title(RunProvenance.of(hub | {"dataset": "my texts/some file.jsonl"}), "run") == f"{MODEL}_some-file.jsonl"
    assert (
        title(RunProvenance.of(hub | {"model": "config/demo/model", "model_revision": "sha256:ab"}), "demo") == "demo"
    )


def test_every_list_has_its_first_column_in_full_where_the_extreme_is() -> None:
    page = make(length=30).build(convention="refactored")
    for case, quantity in LISTS:
        for i, place in enumerate(page.cases[case].extreme[quantity]):
            found = example(page, case, quantity, i)
            listed = found["values"][place.position][0]
            assert listed == pytest.approx(place.value, rel=1e-6)
            assert max(abs(row[0]) for row in found["values"]) == abs(listed)
    assert CASES
