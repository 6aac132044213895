"""Inputs, settings and pages that rules are given."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.errors import ConfigError, DatasetError
from gluscope.core.neuron import NeuronId
from gluscope.stages.table import STAGES, Stage
from gluscope.workflow.flow import Flow
from helpers.checkout import REPO
from helpers.room import CONFIG, Room


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    room = Room(tmp_path)
    room.fake_model()
    room.write_texts()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return room


def flow(repository: Path = REPO, *, dataset: dict[str, Any] | None = None, **run: Any) -> Flow:
    raw = copy.deepcopy(CONFIG)
    raw["runs"]["mine"].update(run)
    raw["datasets"]["mine-texts"].update(dataset or {})
    return Flow(raw, repository)


def test_local_files_are_inputs(room: Room) -> None:
    found = flow()
    assert found.model("mine") == "my-model"
    assert found.model_files("mine") == ["my-model/config.json", "my-model/model.safetensors"]
    assert found.tokenizer_files("mine-texts") == ["my-model/config.json", "my-model/tokenizer.json"]
    assert found.source_files("mine-texts") == ["texts.jsonl"]
    assert found.fetched("mine-texts") == []


def test_all_files_of_a_folder_of_texts_are_inputs(room: Room) -> None:
    (room.folder / "texts/more").mkdir(parents=True)
    for name in ("texts/b.txt", "texts/a.txt", "texts/more/c.txt", "texts/.hidden"):
        (room.folder / name).write_text("x")
    assert flow(dataset={"source": "texts/"}).source_files("mine-texts") == [
        "texts/a.txt", "texts/b.txt", "texts/more/c.txt",
    ]  # fmt: skip


def test_hub_ids_are_fetched(room: Room) -> None:
    found = flow(model="some/model", dataset={"source": "some/texts", "tokenizer": "gpt2"})
    assert (found.model("mine"), found.model_files("mine")) == ("some/model", [])
    assert found.source_files("mine-texts") == []
    assert found.fetched("mine-texts") == ["results/datasets/mine-texts.source.json"]
    assert flow(dataset={"tokenizer": "gpt2"}).fetched("mine-texts") != []


def test_the_tokenizer_of_pages(room: Room) -> None:
    assert flow().tokenizer_of_pages("mine") == []  # it lies beside the token data set
    assert flow(dataset={"tokenizer": None}, model="some/model").tokenizer_of_pages("mine") == []
    assert flow(dataset={"tokenizer": None}).tokenizer_of_pages("mine") == ["my-model/tokenizer.json"]
    (room.folder / "my-model/tokenizer.json").unlink()
    with pytest.raises(DatasetError, match=r"datasets: mine-texts: .* found none, and no tokenizer.json in my-model"):
        flow(dataset={"tokenizer": None}).tokenizer_of_pages("mine")


def test_what_cannot_be_read_is_refused_while_planning(room: Room) -> None:
    (room.folder / "texts").mkdir()
    (room.folder / "texts/a.jsonl").symlink_to("gone.jsonl")
    with pytest.raises(DatasetError, match="expected a file behind the link, found none"):
        flow(dataset={"source": "texts"}).source_files("mine-texts")
    (room.folder / "notes.docx").write_text("x")
    with pytest.raises(DatasetError, match=r"expected a file named \.jsonl"):
        flow(dataset={"source": "notes.docx"}).source_files("mine-texts")


def test_what_lies_under_git_is_no_input(room: Room) -> None:
    (room.folder / "texts/.git/objects").mkdir(parents=True)
    for name in ("texts/a.txt", "texts/.git/HEAD", "texts/.git/objects/b.txt"):
        (room.folder / name).write_text("x")
    assert flow(dataset={"source": "texts"}).source_files("mine-texts") == ["texts/a.txt"]


def test_a_local_folder_wins_over_a_hub_id(room: Room) -> None:
    (room.folder / "some/model").mkdir(parents=True)
    (room.folder / "some/model/config.json").write_text("{}")
    assert flow(model="some/model").model_files("mine") == ["some/model/config.json"]


def test_what_is_not_in_the_working_directory_is_looked_for_beside_the_workflow(room: Room, tmp_path: Path) -> None:
    shipped = tmp_path / "repo/config/demo"
    shipped.mkdir(parents=True)
    (shipped / "config.json").write_text("{}")
    found = flow(tmp_path / "repo", model="config/demo")
    assert found.model_files("mine") == [str(shipped / "config.json")]


@pytest.mark.parametrize("path", ["./model", "a/b/c", "/nowhere", "~/nowhere", "my model", "x.jsonl", "texts.txt"])
def test_what_can_be_neither_a_path_nor_a_hub_id_is_refused(room: Room, path: str) -> None:
    with pytest.raises(ConfigError, match="expected a file or folder that exists, or a hub id"):
        flow(model=path).model("mine")


def test_a_source_that_a_rule_makes_need_not_be_there(room: Room) -> None:
    source = "results/sources/python-docs.jsonl"
    assert flow(dataset={"source": source}).source_files("mine-texts") == [source]


def test_names_that_the_config_does_not_have(room: Room) -> None:
    with pytest.raises(ConfigError, match=r"^results/mime: .*found 'mime'. Next: write 'mine'"):
        flow().run("mime")
    with pytest.raises(ConfigError, match=r"^results/datasets/x: "):
        flow().dataset("x")
    assert flow(shards=3).shard("mine", "0002") == "0002"
    with pytest.raises(ConfigError, match="expected a shard from 0000 to 0002, found 0003"):
        flow(shards=3).shard("mine", "0003")


def test_runs_that_are_compared_have_one_data_set(room: Room) -> None:
    raw = copy.deepcopy(CONFIG)
    raw["datasets"]["others"] = raw["datasets"]["mine-texts"]
    raw["runs"] |= {
        name: raw["runs"]["mine"] | {"dataset": data} for name, data in (("a", "mine-texts"), ("b", "others"))
    }
    assert Flow(raw, REPO).reference_of("a", "mine") == "results/mine/summary.zarr/zarr.json"
    with pytest.raises(
        ConfigError, match=r"b/compare/a\.json: expected data set 'mine-texts', that of a, found 'others'"
    ):
        Flow(raw, REPO).reference_of("b", "a")
    with pytest.raises(ConfigError, match="write 'mine'"):
        Flow(raw, REPO).reference_of("mime", "a")


def test_neurons_of_a_known_model_are_looked_at(room: Room) -> None:
    found = flow()
    assert found.neuron("mine", NeuronId(1, 47)) == NeuronId(1, 47)
    with pytest.raises(ConfigError, match=r"^results/mine/site/L2/N0.html: expected a layer from 0 to 1"):
        found.neuron("mine", NeuronId(2, 0))
    with pytest.raises(ConfigError, match="found neuron 48"):
        found.neuron("mine", NeuronId(0, 48))
    with pytest.raises(ConfigError, match="the name of a run"):
        found.neuron("mime", NeuronId(0, 0))
    assert found.asked == {}


def test_neurons_of_an_unknown_model_are_kept_for_the_fetch(room: Room) -> None:
    found = flow(model="some/model")
    found.neuron("mine", NeuronId(99, 3))
    assert found.asked == {"mine": ["results/mine/site/L99/N3.html"]}


def test_a_fetched_hub_model_is_known(room: Room) -> None:
    repo = room.folder / "hub/models--some--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text("abc")
    (repo / "snapshots/abc").mkdir(parents=True)
    (repo / "snapshots/abc/config.json").write_text(json.dumps({"num_hidden_layers": 3, "intermediate_size": 5}))
    with pytest.raises(ConfigError, match="from 0 to 2"):
        flow(model="some/model").neuron("mine", NeuronId(3, 0))


def test_pages_of_a_run(room: Room) -> None:
    assert flow().pages("mine").single == [NeuronId(0, 3), NeuronId(1, 7)]
    many = flow(neurons=["L1/N*"])
    (batch,) = many.pages("mine").batches
    assert many.neurons_of_batch("mine", "1", "0", str(batch.high)) == "0-47"
    assert many.neurons_of_batch("mine", "1", "3", "5") == "3-5"


def test_the_marker_of_a_batch_is_false_when_one_of_its_pages_has_gone(room: Room) -> None:
    told: list[list[str]] = []
    raw = copy.deepcopy(CONFIG)
    raw["runs"]["mine"]["neurons"] = ["L1/N*"]
    found = Flow(raw, REPO)
    found.make_again = told.append
    names = [f"results/mine/done/{stage}-L1-N0-65535" for stage in ("page", "recompute")]
    made = [f"results/mine/{kind}" for n in range(48) for kind in (f"site/L1/N{n}.html", f"neurons/L1/N{n}.npz")]
    for name in (*names, *made):
        path = room.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found.page_files("mine")
    (room.folder / made[2 * 5]).unlink()
    found.page_files("mine")
    (room.folder / made[2 * 5 + 1]).unlink()
    found.page_files("mine")
    assert told == [[], names[:1], names]
    assert all((room.folder / name).exists() for name in names)


def test_a_start_page_is_made_again_when_a_single_page_has_gone(room: Room) -> None:
    found, pages = flow(neurons=["L1/N3", "L0/N2"]), [room.folder / "results/mine/site/L1/N3.html"]
    pages += [room.folder / "results/mine/site" / name for name in ("L0/N2.html", "index.html")]
    for path in pages:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert found.false_markers("mine") == []
    pages[0].unlink()
    assert found.false_markers("mine") == ["results/mine/site/index.html"]


def test_pages_of_a_layer_wait_for_values_that_are_computed_together(room: Room) -> None:
    room.fake_model(1, 5000)
    found = flow(neurons=["L0/N*"])
    batches = found.pages("mine").batches
    assert len(batches) == 20
    waited = [found.recomputed_for("mine", batch) for batch in batches]
    first, second = (f"results/mine/done/recompute-L0-N{low}-{low + 4095}" for low in (0, 4096))
    assert waited == [first] * 16 + [second] * 4
    assert found.neuron_files("mine") == [first, second]
    # A page and its values have gone: both markers, and no other.
    markers = [room.folder / "results/mine" / f"done/page-L0-N{batch.low}-{batch.high}" for batch in batches]
    for path in (*markers, room.folder / first, room.folder / second):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for kind in ("site/L0/N{}.html", "neurons/L0/N{}.npz"):
        for neuron in range(5000):
            path = room.folder / "results/mine" / kind.format(neuron)
            path.parent.mkdir(parents=True, exist_ok=True)
            if neuron != 4500:
                path.touch()
    assert [room.folder / name for name in found.false_markers("mine")] == [markers[4500 // 256], room.folder / second]


def test_listed_neurons_of_an_unknown_model_are_kept_for_the_fetch(room: Room) -> None:
    found = flow(model="some/model", neurons=["L3/N9", "L7/N2", "L3/N5"])
    found.listed("mine")
    assert found.asked == {"mine": ["results/mine/site/L7/N9.html"]}


def test_pages_that_are_there_without_being_listed(room: Room) -> None:
    for name in ("L0/N3.html", "L1/N11.html", "L1/N5.html", "L1/notes.html", "index.html", "Lx/N1.html"):
        path = room.folder / "results/mine/site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert flow().unlisted("mine") == "L1/N5 L1/N11"


def test_published_activations_are_files_or_what_says_where_they_were_fetched_to(room: Room) -> None:
    for name in ("published/data/b.parquet", "published/data/a.parquet", "summary_refactored.pt"):
        (room.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (room.folder / name).write_bytes(b"")

    def asked(activations: str) -> tuple[str | None, list[str]]:
        found = flow(activations=activations)
        return found.activations("mine"), found.activation_files("mine")

    assert flow().activations("mine") is None
    assert flow(activations="user/data").sampled_files("mine") == []
    found = flow(activations="user/data", sampled_activations="user/samples")
    assert found.sampled_files("mine") == ["results/mine/sampled_activations.json"]
    assert found.settings("take_activations", "mine")["sampled_activations"] == "user/samples"
    assert "sampled_activations" not in flow(activations="user/data").settings("take_activations", "mine")
    assert asked("user/data") == ("user/data", ["results/mine/activations.json"])
    assert asked("published/") == ("published", ["published/data/a.parquet", "published/data/b.parquet"])
    assert asked("summary_refactored.pt") == ("summary_refactored.pt", ["summary_refactored.pt"])
    # Another run's export, which need not be there yet, stays one file as it comes into being.
    made = ("results/mine/export/hf", ["results/mine/export/hf/state.json"])
    assert asked("results/mine/export/hf/") == made
    (room.folder / "results/mine/export/hf/samples").mkdir(parents=True)
    assert asked("results/mine/export/hf") == made
    with pytest.raises(ConfigError, match=r"activations: expected a file or folder that exists.*missing\.pt"):
        asked("missing.pt")


def test_exports_wait_for_values_of_the_listed_neurons(room: Room) -> None:
    assert flow().neuron_files("mine") == ["results/mine/neurons/L0/N3.npz", "results/mine/neurons/L1/N7.npz"]
    assert flow(neurons=["L1/N*"]).neuron_files("mine") == ["results/mine/done/recompute-L1-N0-65535"]


def test_settings_are_the_keys_that_the_table_names(room: Room) -> None:
    found = flow(k=3, dtype="bfloat16", pages_from="model", neurons=["L0/N3", "L1/N7", "L0/N4"])
    scan = {"k": 3, "samples": 4096, "seed": 0, "dtype": "bfloat16", "tf32": False, "cache_dtype": "float16"}
    scan["skip_tokens"] = ["bos"]
    assert found.settings("scan", "mine") == scan
    assert "cache_dtype" not in flow(cache=False).settings("scan", "mine")
    assert found.settings("fetch_model", "mine") == {"model": "my-model", "revision": None}
    assert found.settings("recompute", "mine") == {"pages_from": "model"}
    assert flow().settings("recompute", "mine") == {"pages_from": "cache"}
    assert found.settings("replay", "mine") == {"neurons": {"0": "3-4", "1": "7"}}
    texts = found.settings("tokenise", "mine-texts")
    assert (texts["source"], texts["tokenizer"], texts["max_length"]) == ("texts.jsonl", "my-model", 1024)
    assert found.scanned_with("mine") == {
        "k": 3,
        "samples": 4096,
        "seed": 0,
        "dtype": "bfloat16",
        "tf32": False,
        "skip_tokens": ["bos"],
        "stages": {"scan": str(STAGES["scan"].version)},
    }


def test_a_scan_on_a_cpu_does_not_depend_on_the_gpus_code(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flow().version("scan", "mine") == flow(device="cpu").version("scan", "mine")
    scan, merge = (str(STAGES[name].version) for name in ("scan", "merge"))
    monkeypatch.setitem(STAGES, "triton", Stage(2))
    assert flow(device="cpu").version("scan", "mine") == {"scan": scan}
    assert (
        flow(device="cuda").version("scan", "mine") == flow().version("scan", "mine") == {"scan": scan, "triton": "2"}
    )
    assert flow().version("merge", "mine") == {"merge": merge}


def test_every_edit_counts_where_a_developer_asks_for_it(room: Room, tmp_path: Path) -> None:
    shutil.copytree(REPO / "scripts", tmp_path / "edited/scripts", ignore=shutil.ignore_patterns("__pycache__"))
    edited = tmp_path / "edited/scripts/gluscope/scan"

    def versions(repository: Path, device: str) -> dict[str, str]:
        raw = copy.deepcopy(CONFIG) | {"every_edit": True}
        raw["runs"]["mine"]["device"] = device
        return Flow(raw, repository).version("scan", "mine")

    before = versions(REPO, "auto")
    assert all(version.startswith(f"{STAGES[name].version} ") for name, version in before.items())
    with (edited / "triton_kernel.py").open("a") as file:
        file.write("X = 1\n")
    assert versions(tmp_path / "edited", "cpu") == versions(REPO, "cpu")
    after = versions(tmp_path / "edited", "auto")
    assert (after["scan"] == before["scan"], after["triton"] == before["triton"]) == (True, False)


def test_a_local_tokenizer_without_chat_template_is_refused_while_planning(room: Room) -> None:
    chat = {"messages_column": "messages"}
    assert flow().tokenizer_files("mine-texts") == ["my-model/config.json", "my-model/tokenizer.json"]
    with pytest.raises(DatasetError, match="my-model: expected a tokenizer with a chat template"):
        flow(dataset=chat).tokenizer_files("mine-texts")
    (room.folder / "my-model/chat_template.jinja").write_text("{{ messages }}")
    assert "my-model/chat_template.jinja" in flow(dataset=chat).tokenizer_files("mine-texts")
    assert "my-model/chat_template.jinja" not in flow().tokenizer_files("mine-texts")
    (room.folder / "my-model/chat_template.jinja").unlink()
    (room.folder / "my-model/tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert "my-model/tokenizer_config.json" in flow(dataset=chat).tokenizer_files("mine-texts")


@pytest.mark.parametrize("stage", ["tokenise", "fetch_dataset"])
def test_data_sets_without_chats_have_the_settings_that_they_had(room: Room, stage: str) -> None:
    """Else every one of them would be made again."""
    plain = flow().settings(stage, "mine-texts")
    assert not {"messages_column", "template_kwargs"} & plain.keys()
    assert "add_generation_prompt" not in repr(plain)
    chat = flow(dataset={"messages_column": "m", "template_kwargs": {"add_generation_prompt": True}})
    found = chat.settings(stage, "mine-texts")
    assert found["messages_column"] == "m"
    assert ("template_kwargs" in found) == (stage == "tokenise")
