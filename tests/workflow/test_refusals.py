"""What cannot be is refused in one line before any job runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from gluscope.core.size import Size
from helpers.checkout import copy_checkout
from helpers.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path)
    room.write_config()
    room.write_texts()
    room.fake_model()
    return room


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (
            "results/mime/site/L0/N3.html",
            "error: results/mime: expected the name of a run, found 'mime'. Next: write 'mine', the nearest known one.",
        ),
        (
            "results/mine/site/L2/N3.html",
            "error: results/mine/site/L2/N3.html: expected a layer from 0 to 1 (the model has 2), found layer 2. "
            "Next: correct the neuron's name.",
        ),
    ],
)
def test_a_target_that_cannot_be(room: Room, target: str, line: str) -> None:
    assert room.refusal(target) == [line]


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("results/mine/site/L1/N7", "results/mine/site/L1/N7.html"),
        ("mine", "results/mine/site/index.html"),
    ],
)
def test_a_target_of_the_wrong_shape(room: Room, target: str, meant: str) -> None:
    expected = "expected a file that the workflow makes, or a rule, found a name that no rule has"
    assert room.refusal(target)[-1] == f"error: {target}: {expected}. Next: write {meant}."


def test_a_run_with_results_that_is_not_in_the_config(room: Room) -> None:
    (room.folder / "mine.yaml").unlink()
    (room.folder / "results/mine").mkdir(parents=True)
    (room.folder / "results/mine/model.json").write_text("{}")
    done = room.snakemake("--dry-run", "results/mine/site/L0/N3.html")
    expected = "expected the name of a run, found 'mine', which has results but no entry in the config"
    line = f"error: results/mine: {expected}. Next: add --configfile with the file that has it."
    assert line in (done.stdout + done.stderr).splitlines()


def test_a_listed_neuron_that_cannot_be(room: Room) -> None:
    room.write_config(neurons=["L0/N3", "L0/N48"])
    (line,) = room.refusal()
    assert line.startswith("error: config: runs: mine: neurons: expected a neuron from 0 to 47")


def test_a_neuron_that_a_replay_does_not_keep(room: Room) -> None:
    room.write_config(pages_from="replay")
    (line,) = room.refusal("results/mine/site/L0/N4.html")
    assert "expected a neuron under `neurons:` of run mine, whose pages come from a replay, found L0/N4" in line


def test_every_mistake_in_the_config_has_its_line(room: Room) -> None:
    room.write_config(k=0, dtype="float8", colour="blue")
    lines = room.refusal()
    expected = ["k: expected a whole number from 1 to 1024, found 0. Next: correct it in your config file."]
    expected += [
        "dtype: expected one of float32, bfloat16, float16, auto, found 'float8'. Next: correct it in your config file."
    ]
    expected += ["expected a known key, found 'colour'. Next: choose one of model, dataset, neurons, "]
    assert len(lines) == len(expected)
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith(f"error: config: runs: mine: {text}")


def test_texts_that_are_not_there(room: Room) -> None:
    (room.folder / "texts.jsonl").unlink()
    (line,) = room.refusal()
    assert "config: datasets: mine-texts: source: expected a file or folder that exists, or a hub id" in line


def test_a_neuron_of_a_model_that_was_not_known_is_refused_when_it_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fetch_model

    monkeypatch.setattr(fetch_model, "describe", lambda *_: SimpleNamespace(size=Size.dense(32, 11008)))
    page = "results/olmo/site/L32/N5.html"
    smk = SimpleNamespace(
        params=SimpleNamespace(settings={"model": "some/model", "revision": None}),
        wildcards=SimpleNamespace(run="olmo"),
        output=[str(tmp_path / "model.json")],
        config={"asked": {"olmo": ["results/olmo/site/L31/N11007.html", page], "x": ["results/x/site/L99/N0.html"]}},
        log=[str(tmp_path / "log")],
        threads=1,
    )
    with pytest.raises(SystemExit):
        fetch_model.main(smk)
    assert f"error: {page}: expected a layer from 0 to 31" in capsys.readouterr().err
    assert not (tmp_path / "model.json").exists()


def test_a_fetched_model_without_a_tokenizer_for_texts_that_came_as_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fetch_model

    spec = SimpleNamespace(size=Size.dense(32, 11008), folder=str(tmp_path), model="some/model")
    monkeypatch.setattr(fetch_model, "describe", lambda *_: spec)
    smk = SimpleNamespace(
        params=SimpleNamespace(settings={"model": "some/model", "revision": None}, version={"fetch_model": "1"}),
        wildcards=SimpleNamespace(run="olmo"),
        output=[str(tmp_path / "model.json")],
        config={
            "asked": {"olmo": ["results/olmo/site/L31/N5.html"]},
            "runs": {"olmo": {"dataset": "ids"}},
            "datasets": {"ids": {"source": "some/ids"}},
        },
        log=[str(tmp_path / "log")],
        threads=1,
    )
    with pytest.raises(SystemExit):
        fetch_model.main(smk)
    assert "config: datasets: ids: expected a `tokenizer`, for pages to show texts" in capsys.readouterr().err


def test_texts_that_came_as_tokens_need_a_tokenizer_before_the_scan(room: Room) -> None:
    (room.folder / "my-model/tokenizer.json").unlink()
    config = yaml.safe_load((room.folder / "mine.yaml").read_text())
    del config["datasets"]["mine-texts"]["tokenizer"]
    (room.folder / "mine.yaml").write_text(yaml.safe_dump(config))
    (line,) = room.refusal()
    assert "datasets: mine-texts: expected a `tokenizer`" in line


def test_names_that_yaml_takes_for_numbers_are_to_be_quoted(room: Room) -> None:
    config = (room.folder / "mine.yaml").read_text()
    (room.folder / "mine.yaml").write_text(
        config.replace("mine:", "2026-01-01:").replace("- mine\n", "- '2026-01-01'\n")
    )
    lines = room.refusal()
    assert "found 2026-01-01, which YAML takes for a date. Next: write it in quotes" in lines[0]


def test_a_clone_in_a_folder_with_a_space(tmp_path: Path, room: Room) -> None:
    clone = Room(room.folder, copy_checkout(tmp_path / "my clone"))
    assert clone.plan("results/mine/site/L0/N3.html")["scan"] == 1
    (line,) = clone.refusal("results/mine/site/L0/N3.html", "--sdm", "apptainer")
    assert line.startswith("error: --sdm apptainer: expected a clone in a folder without spaces, found ")
