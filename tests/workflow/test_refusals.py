"""What cannot be is refused in one line before any job runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
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
    assert len(room.refusal()) == 3


def test_texts_that_are_not_there(room: Room) -> None:
    (room.folder / "texts.jsonl").unlink()
    (line,) = room.refusal()
    assert "config: datasets: mine-texts: source: expected a file or folder that exists, or a hub id" in line


def test_a_neuron_of_a_model_that_was_not_known_is_refused_when_it_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fetch_model

    monkeypatch.setattr(fetch_model, "describe", lambda *_: SimpleNamespace(n_layers=32, d_mlp=11008))
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
