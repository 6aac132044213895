"""The config as users write it, and what they are told when it is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
import yaml
from gluscope.config.check import check
from gluscope.config.document import SECTIONS, schema_text, with_tables
from gluscope.config.keys import ConfigFile, DatasetConfig, RunConfig
from gluscope.config.load import ConfigErrors, load_config
from helpers.checkout import REPO
from hypothesis import given, settings
from hypothesis import strategies as st

# The example of the design, with every key that has a default left out.
SMALL: dict[str, Any] = {
    "datasets": {"mine-texts": {"source": "texts.jsonl", "tokenizer": "my-model/"}},
    "runs": {"mine": {"model": "my-model/", "dataset": "mine-texts", "neurons": ["L0/N3", "L1/N7"]}},
    "all": ["mine"],
}


SCHEMA = json.loads(schema_text())


def changed(where: str, value: Any) -> dict[str, Any]:
    """SMALL with one value put in; `where` is like `runs/mine/k`. A value of KeyError takes the key away."""
    raw = copy.deepcopy(SMALL)
    *above, last = where.split("/")
    inner = raw
    for key in above:
        inner = inner[key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return raw


def mistakes(raw: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as found:
        load_config(raw)
    lines = str(found.value).split("\n")
    assert len(lines) == len(found.value.errors)
    assert all(line.startswith("error: config") and ". Next: " in line for line in lines)
    return lines


def test_small_config_gets_the_defaults_of_the_design() -> None:
    config = load_config(SMALL)
    run, dataset = config.runs["mine"], config.datasets["mine-texts"]
    assert (run.k, run.cache, run.samples, run.refactor_glu) == (16, True, 4096, False)
    assert (run.pages_from, run.pages_source) == (None, "cache")
    assert (dataset.split, dataset.text_column, dataset.max_length) == ("train", "text", 1024)
    assert (dataset.long_texts, dataset.max_tokens, dataset.bos) == ("truncate", None, None)
    assert run.paths.root == "results/mine"
    assert dataset.paths.folder == "results/datasets/mine-texts"


def test_a_run_without_cache_computes_pages_with_the_model() -> None:
    assert load_config(changed("runs/mine/cache", False)).runs["mine"].pages_source == "model"


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("run", {}, "config: expected a known key, found 'run'. Next: write 'runs'"),
        ("runs/mine/modell", "x", "config: runs: mine: expected a known key, found 'modell'. Next: write 'model'"),
        ("datasets/mine-texts/max_len", 5, "Next: write 'max_length'"),
        ("runs/mine/model", KeyError, "config: runs: mine: expected the key 'model', found none"),
        ("runs/mine/neurons", KeyError, "expected the key 'neurons', found none"),
        ("runs/mine/k", "sixteen", "runs: mine: k: expected a whole number from 1 to 1024, found 'sixteen'"),
        ("runs/mine/k", 0, "found 0"),
        ("runs/mine/k", True, "found True"),
        ("runs/mine/k", None, "found nothing"),
        ("runs/mine/shards", 10000, "from 1 to 9999, found 10000"),
        ("runs/mine/cache", "yes", "expected true or false, found 'yes'"),
        ("runs/mine/dtype", "float64", "expected one of float32, bfloat16, float16, auto, found 'float64'"),
        ("runs/mine/model", "  ", "expected a text that is not empty"),
        ("runs/mine/neurons", "L0/N3", "neurons: expected a list, found 'L0/N3'"),
        ("runs/mine/neurons", ["L0/N3", "N3/L0"], "neurons[1]: expected a neuron such as L5/N10602"),
        ("runs/mine/neurons", ["L00/N3"], "found 'L00/N3'"),
        ("runs/mine/neurons", ["L0/N3\n"], "neurons[0]: expected a neuron"),
        ("runs/mine/neurons", [3], "found 3"),
        ("runs/mine", None, "runs: mine: expected keys with values, found nothing"),
        ("runs/mine/name", "x", "config: runs: mine: expected a known key, found 'name'. Next: choose one of model, d"),
        ("runs/mine/7", 7, "config: runs: mine: expected a known key, found '7'"),
        ("datasets/mine-texts/source", KeyError, "Next: add it: Where the texts are: a file or folder of jsonl, json,"),
        ("runs/datasets", {}, "config: runs: expected a name of letters, digits, '.', '_' and '-' that begins with a "
            "letter or digit, and is not datasets or sources, found 'datasets'. Next: choose another name."),
        ("runs/mine/pages_from", 3, "pages_from: expected one of cache, replay, model, found 3. Next: correct it in"),
        ("runs/datasets", {}, "not datasets or sources, found 'datasets'"),
        ("runs/a b", {}, "found 'a b'"),
        ("runs/.hidden", {}, "found '.hidden'"),
        ("runs/..", {}, "found '..'"),
        ("runs/mine\n", {}, r"found 'mine\n'"),
        ("datasets/a*", {}, "begins with a letter or digit, found 'a*'"),
        ("runs/mine/dataset", "mine-text", "found 'mine-text'. Next: write 'mine-texts', the nearest known one"),
        ("runs/mine/activations", "", "activations: expected a text that is not empty"),
        ("datasets/mine-texts/max_tokens", 2e7, "found 20000000.0"),
        ("all", ["quux"], "config: all: expected the name of a run, found 'quux'. Next: choose one of mine"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line(where: str, value: Any, told: str) -> None:
    (line,) = mistakes(changed(where, value))
    assert told in line


def test_pages_from_a_cache_that_the_run_does_not_have() -> None:
    raw = changed("runs/mine/cache", False)
    raw["runs"]["mine"]["pages_from"] = "cache"
    assert "set `cache: true`, or `pages_from: model`" in mistakes(raw)[0]


def test_a_run_with_published_activations_scans_nothing() -> None:
    run = load_config(changed("runs/mine/activations", "x/y")).runs["mine"]
    assert (run.cache, run.pages_source) == (False, "model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cache", True),
        ("pages_from", "cache"),
        ("samples", 5),
        ("seed", 0),
        ("cache_dtype", "float16"),
        ("shards", 2),
        ("skip_tokens", ["bos"]),
    ],
)
def test_keys_of_a_scan_beside_published_activations_are_told(key: str, value: Any) -> None:
    raw = changed("runs/mine/activations", "x/y")
    raw["runs"]["mine"][key] = value
    (line,) = mistakes(raw)
    assert f"mine: {key}: expected nothing of a scan beside `activations`, found {value!r}" in line
    assert f"Next: leave {key} out, or `activations`." in line


def test_a_replay_of_published_activations_has_shards() -> None:
    raw = changed("runs/mine/activations", "x/y")
    raw["runs"]["mine"] |= {"pages_from": "replay", "shards": 4, "cache": False}
    assert load_config(raw).runs["mine"].pages_source == "replay"


def test_every_mistake_is_told_at_once() -> None:
    raw = changed("runs/mine/k", 0)
    raw["runs"]["mine"]["seeds"] = 1
    raw["datasets"]["mine-texts"]["source"] = 5
    assert len(mistakes(raw)) == 3


def test_a_config_that_is_no_mapping_is_told() -> None:
    assert mistakes({"runs": ["mine"]})[0].startswith("error: config: runs: expected keys with values")


def test_shipped_config_is_good() -> None:
    import yaml

    config = load_config(yaml.safe_load((REPO / "config/config.yaml").read_text(encoding="utf-8")))
    assert config.all == ["demo"]
    olmo, route = config.runs["olmo-7b-0424"], config.datasets["dolma-3b"]
    assert (olmo.model, olmo.refactor_glu, olmo.k) == ("allenai/OLMo-7B-0424-hf", True, 16)
    assert (olmo.dtype, olmo.cache, olmo.pages_source) == ("bfloat16", False, "replay")
    assert config.datasets[olmo.dataset].source == "sjgerstner/dolma-small"
    assert config.datasets[olmo.dataset].max_length == 1024
    assert (route.source, route.shuffle_seed, route.max_tokens) == ("emozilla/dolma-v1_7-3B", 2512800, 20_000_000)
    assert route.bos is True


def test_files_made_from_the_classes_are_up_to_date() -> None:
    how = "run `make config`"
    assert (REPO / "config/config.schema.json").read_text(encoding="utf-8") == schema_text(), how
    readme = (REPO / "config/README.md").read_text(encoding="utf-8")
    assert with_tables(readme) == readme, how
    for section in SECTIONS.values():
        assert all(f"| `{key}` |" in readme for key in section.known())


def test_every_key_has_documentation() -> None:
    for section in SECTIONS.values():
        assert list(section.meanings()) == list(section.known())


def test_schema_is_a_schema_and_holds_defaults_that_it_allows() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for entry in SCHEMA["$defs"].values():
        for key, part in entry["properties"].items():
            assert ("default" in part) != (key in entry["required"])
            if "default" in part:
                jsonschema.validate(part["default"], {**part, "$defs": SCHEMA["$defs"]})


def test_defaults_are_values_that_are_allowed() -> None:
    for section, needed in ((DatasetConfig, {"source": "s"}), (RunConfig, SMALL["runs"]["mine"])):
        keys = {key: field.default for key, field in section.known().items() if not field.is_required()}
        assert section(name="a", **needed, **keys) == section(name="a", **needed)


VALUES = st.sampled_from(
    ["a", "", "truncate", "cuda", "cache", "L0/N1", "L*/N*", "L0/N01", 0, 1, 2, -1, 16, 10**7, 1.5, True, None, [], {}]
) | st.lists(st.sampled_from(["L0/N1", "x", 1, None]), max_size=2)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_the_schema_for_editors_agrees_with_the_check(data: st.DataObject) -> None:
    raw = copy.deepcopy(SMALL)
    for _ in range(data.draw(st.integers(0, 3))):
        cls, entry = data.draw(
            st.sampled_from([(RunConfig, raw["runs"]["mine"]), (DatasetConfig, raw["datasets"]["mine-texts"])])
        )
        key = data.draw(st.sampled_from([*cls.known(), "other", "name"]))
        if data.draw(st.booleans()):
            entry[key] = data.draw(VALUES)
        else:
            entry.pop(key, None)
    for kind, name in (("runs", "datasets"), ("runs", "b\n"), ("datasets", "datasets"), ("datasets", ".c")):
        if data.draw(st.integers(0, 9)) == 0:
            raw[kind][name] = next(iter(SMALL[kind].values()))
    assert isinstance(check(raw), ConfigFile) == jsonschema.Draft202012Validator(SCHEMA).is_valid(raw)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("7", "a number"), ("0123", "a number"), ("1.5", "a number"), ("2026-01-01", "a date"), ("yes", "a truth value")],
)
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(name: str, kind: str) -> None:
    raw = yaml.safe_load(f"datasets: {{d: {{source: s}}}}\nruns:\n  {name}: {{model: m, dataset: d, neurons: []}}\n")
    with pytest.raises(ConfigErrors, match=rf"which YAML takes for {kind}\. Next: write it in quotes"):
        load_config(raw)
    raw = yaml.safe_load(f"datasets: {{d: {{source: s}}}}\nruns:\n  '{name}': {{model: m, dataset: d, neurons: []}}\n")
    assert list(load_config(raw).runs) == [name]


def test_a_value_that_yaml_takes_for_something_else_is_to_be_quoted() -> None:
    raw = yaml.safe_load("datasets: {d: {source: 7, text_column: 2026-01-01, revision: 1.5}}")
    with pytest.raises(ConfigErrors) as caught:
        load_config(raw)
    assert str(caught.value).count("write it in quotes, so that it is a text") == 3
    with pytest.raises(ConfigErrors, match=r"found 'many'\. Next: correct it in your config file"):
        load_config({"datasets": {"d": {"source": "s", "max_length": "many"}}})


def test_what_is_nested_deeply_or_refers_to_itself_is_refused_in_one_line() -> None:
    deep: list = []
    for _ in range(3000):
        deep = [deep]
    ring = yaml.safe_load("all: &a [*a]\ndatasets: &b {d: *b}\nruns: {r: &c {model: *c, dataset: d, neurons: []}}")
    for raw in ({"all": deep}, {"datasets": {"d": {"source": deep}}}, ring):
        with pytest.raises(ConfigErrors) as caught:
            load_config(raw)
        assert all(line.startswith("error: config: ") for line in str(caught.value).splitlines())
