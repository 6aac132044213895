"""A run that puts neurons into words, as a user has it: files, page, start page; what runs again; what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from gluscope.core.cases import CASES
from gluscope.core.neuron import NeuronId
from gluscope.explain.kept import Kept
from gluscope.explain.types import Explanation
from gluscope.page.pack import unpack
from gluscope.page.site import read_card
from helpers.checkout import PATIENCE, REPO, copy_checkout, small_demo, user_environment
from helpers.room import Room
from helpers.talker import Question, Talker, judged, says, talking
from helpers.tiny_models import make

KEY = "sk-a-secret-that-is-nowhere"


def script(body: dict[str, Any], _: int) -> str:
    """Words are the token of the first text."""
    question = Question.of(body)
    return says(f"{question.texts[0]['token']} <b>") if question.kind == "explain" else judged(question)


@pytest.fixture(scope="module")
def talker() -> Iterator[Talker]:
    with talking(script) as found:
        yield found


def explain(talker: Talker, **keys: Any) -> dict[str, Any]:
    return {"address": talker.address, "model": "some/model", "key_from": "GLUSCOPE_TEST_KEY", **keys}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, talker: Talker) -> Iterator[Room]:
    room = Room(tmp_path_factory.mktemp("explain"))
    make(folder=room.folder / "my-model")
    room.write_texts()
    room.write_config(explain=explain(talker), refactor_glu=True)
    os.environ["GLUSCOPE_TEST_KEY"] = KEY
    done = room.snakemake("all", "results/mine/site/L1/N9.html", "results/mine/export/neurons.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    yield room
    del os.environ["GLUSCOPE_TEST_KEY"]


def header(room: Room, neuron: str) -> dict:  # type: ignore[type-arg]
    page = (room.folder / f"results/mine/site/{neuron}.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found
    return unpack(found[1].strip())[0]


def read(room: Room, neuron: str) -> Explanation:
    return Explanation.read(room.folder / f"results/mine/explain/{neuron}.json", NeuronId.parse(neuron))


def test_files_pages_and_cards_say_the_same(room: Room) -> None:
    for name in ("L0/N3", "L1/N7", "L1/N9"):
        found, about = read(room, name), header(room, name)
        card = read_card(room.folder / f"results/mine/site/{name}.html", NeuronId.parse(name))
        assert about["explained"]["model"] == found.model == "some/model"
        for case in CASES:
            own = found.cases[case.flipped if about["sign"] < 0 else case]
            shown = about["explained"]["cases"][case.value]
            assert (shown["words"], shown["texts"]) == (own.words, own.texts)
            assert {name: one["value"] for name, one in shown["scores"].items()} == {
                name: one.value for name, one in own.scores.items()
            }
            assert bool(own.words) == bool(about["cases"][case.value]["extreme"]["post"])
            assert not own.words or own.words in card["said"]
    assert any(read(room, "L1/N7").cases[case].scores for case in CASES)


def test_the_table_of_neurons_says_the_same(room: Room) -> None:
    table = pyarrow.parquet.read_table(room.folder / "results/mine/export/neurons.parquet").to_pylist()
    rows = {f"L{row['layer']}/N{row['neuron']}": row for row in table}
    some = 0
    for name in ("L0/N3", "L1/N7", "L1/N9"):
        found, flip = read(room, name), header(room, name)["sign"] < 0
        for case in CASES:
            own, said = rows[name], found.cases[case.flipped if flip else case]
            assert own[f"{case.value}_words"] == (said.words or None)
            assert (own[f"{case.value}_words_judged"] is None) == (not said.words)
            for score in ("detection", "near misses", "fuzzing"):
                value = said.scores[score].value if score in said.scores else None
                assert own[f"{case.value}_words_{score.replace(' ', '_')}"] == (value and np.float32(value))
                some += value is not None
    assert some > 4
    assert rows["L0/N4"]["gate+_in+_words"] is None


def test_nothing_is_paid_twice_and_what_has_gone_is_made_again(room: Room, talker: Talker) -> None:
    assert room.plan() == {}
    asked = len(talker.bodies)
    kept = Kept(room.folder / "results/mine/explain/answers.jsonl")
    assert (kept.requests, kept.tokens, kept.damaged) == (asked, 110 * asked, 0)
    file = room.folder / "results/mine/explain/L1/N7.json"
    before = file.read_bytes()
    file.unlink()
    assert room.plan()["explain_listed"] == 1
    done = room.snakemake()
    assert done.returncode == 0
    assert file.read_bytes() == before
    assert len(talker.bodies) == asked
    log = (room.folder / "logs/explain/mine/listed.log").read_text(encoding="utf-8")
    assert f"1 neurons: about 0 requests and 0 tokens to come; spent before: {asked} requests" in log
    assert "1 neurons: 0 requests sent, 0 tokens paid" in log


def test_an_altered_file_is_named_and_made_again_without_asking(room: Room, talker: Talker) -> None:
    asked, file = len(talker.bodies), room.folder / "results/mine/explain/L1/N7.json"
    before = file.read_bytes()
    file.write_bytes(before.replace(b'"judged": ', b'"judged": 1', 1))
    (room.folder / "results/mine/site/L1/N7.html").unlink()
    done = room.snakemake()
    assert done.returncode != 0
    assert "results/mine/explain/L1/N7.json: expected an explanation of a neuron as it was written" in done.stderr
    done = room.snakemake()
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == before
    assert len(talker.bodies) == asked


def test_where_and_how_fast_is_asked_makes_nothing_new_and_what_is_asked_does(room: Room, talker: Talker) -> None:
    same = {"address": "https://other.example/v1", "key_from": None, "at_once": 9, "max_tokens": 5, "tries": 1}
    room.write_config(explain=explain(talker, **same), refactor_glu=True)
    assert room.plan() == {}
    for other in ({"model": "another"}, {"texts": 3}, {"options": {"top_p": 0.5}}):
        room.write_config(explain=explain(talker, **other), refactor_glu=True)
        assert room.plan().keys() >= {"stage_version", "explain_listed", "page"}
        assert not {"scan", "merge", "recompute"} & room.plan().keys()
    prompts = room.folder / "my-prompts"
    prompts.mkdir(exist_ok=True)
    (prompts / "fuzz.md").write_text("Judge.\n---\n{{ explanation }}\n{{ fence }}\n{{ texts }}\n{{ fence }}\n")
    room.write_config(explain=explain(talker, prompts="my-prompts"), refactor_glu=True)
    assert room.plan()["explain_listed"] == 1
    room.write_config(refactor_glu=True)
    assert room.plan() == {"page": 2, "site_index": 1, "all": 1}
    room.write_config(explain=explain(talker), refactor_glu=True)
    assert room.plan() == {}


def test_the_key_is_sent_and_is_nowhere_else(room: Room, talker: Talker) -> None:
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in talker.headers)
    files = [file for file in Path(room.folder).rglob("*") if file.is_file()]
    assert len(files) > 30
    assert not [str(file) for file in files if KEY.encode() in file.read_bytes()]
    assert not [body for body in talker.bodies if KEY in json.dumps(body)]


def test_a_budget_too_small_is_refused_in_one_line_before_the_first_request(room: Room, talker: Talker) -> None:
    asked = len(talker.bodies)
    room.write_config(explain=explain(talker, model="dear", max_requests=asked + 3), refactor_glu=True)
    done = room.snakemake("results/mine/explain/L0/N4.json")
    assert done.returncode != 0
    found = re.search(
        r"error: config: runs: mine: explain: expected at most \d+ requests \(`max_requests`\), found about \d+ needed "
        rf"beside {asked} spent\. Next: raise `max_requests` of `explain` in your config file, or list fewer neurons\.",
        done.stdout + done.stderr,
    )
    assert found, done.stderr
    assert len(talker.bodies) == asked
    room.write_config(explain=explain(talker), refactor_glu=True)


def test_a_missing_key_a_missing_folder_and_a_run_without_are_told(room: Room, talker: Talker) -> None:
    target = "results/mine/explain/L0/N4.json"
    room.write_config(explain=explain(talker, key_from="GLUSCOPE_NO_KEY"), refactor_glu=True)
    done = room.snakemake(target)
    assert "key_from: expected a key in the environment variable GLUSCOPE_NO_KEY, found none" in done.stderr
    room.write_config(explain=explain(talker, prompts="no-such-folder"), refactor_glu=True)
    assert "explain: prompts: expected a folder that exists, found 'no-such-folder'" in room.snakemake(target).stderr
    room.write_config(refactor_glu=True)
    assert "expected `explain` in the run mine, found none, its default" in room.snakemake(target).stderr
    room.write_config(explain=explain(talker), refactor_glu=True)


def test_the_commands_of_the_docs_run_with_the_config_of_the_docs(tmp_path: Path, talker: Talker) -> None:
    page = (REPO / "docs/explain.md").read_text(encoding="utf-8")
    config, commands = (re.findall(rf"^```{kind}\n(.*?)^```$", page, re.M | re.S) for kind in ("yaml", "sh words"))
    folder = copy_checkout(tmp_path / "gluscope")
    small_demo(folder)
    (folder / "mine.yaml").write_text(config[0].replace("http://localhost:8000/v1", talker.address), encoding="utf-8")
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder, env=user_environment(HOME=str(tmp_path)), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    said = re.search(r"2 neurons: about (\d+) requests and ([\d,]+) tokens to come", done.stderr)
    assert said
    assert 40 <= int(said[1]) <= 56
    assert 20_000 < int(said[2].replace(",", "")) < 60_000
    assert read_card(folder / "results/demo/site/L3/N34.html", NeuronId.parse("L3/N34"))["said"]
