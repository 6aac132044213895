"""`explain` end to end against another server: `transformers serve`, with a tiny model that says one thing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gluscope.core.neuron import NeuronId
from gluscope.explain.kept import Kept
from gluscope.explain.types import Explanation
from helpers.checkout import PATIENCE
from helpers.room import Room
from helpers.speaking_model import WORDS, make_speaking
from helpers.tiny_models import make


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and model."""
    folder = tmp_path_factory.mktemp("served")
    model, port = make_speaking(folder / "model"), free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model), "--device", "cpu",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=log, stderr=log)
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", folder / "log")
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(server: subprocess.Popen[Any], health: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(health, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    pytest.fail(f"no server: {log.read_text()[-3000:]}")


def test_from_texts_to_words_and_scores_and_a_second_run_that_pays_nothing(
    tmp_path: Path, served: tuple[str, str]
) -> None:
    address, model = served
    room = Room(tmp_path)
    make(folder=tmp_path / "my-model")
    room.write_texts()
    room.write_config(explain={"address": address, "model": model, "answer_tokens": 50})
    done = room.snakemake("results/mine/done/explain")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = Kept(tmp_path / "results/mine/explain/answers.jsonl")
    files = {name: tmp_path / f"results/mine/explain/{name}.json" for name in ("L0/N3", "L1/N7")}
    found = [Explanation.read(file, NeuronId.parse(name)) for name, file in files.items()]
    cases = [words for one in found for words in one.cases.values() if words.texts]
    assert cases
    assert {words.words for words in cases} == {WORDS}
    assert all(words.unanswered == 0 for words in cases)
    judged = [tally for words in cases for tally in words.said.values()]
    assert sum(tally.judged for tally in judged) > 20
    assert 0 < sum(tally.yes for tally in judged) < sum(tally.judged for tally in judged)
    assert kept.requests == sum(one.requests for one in found)
    assert kept.tokens == sum(one.tokens for one in found)
    before = {file: file.read_bytes() for file in files.values()}
    for file in files.values():
        file.unlink()
    done = room.snakemake("results/mine/done/explain")
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "logs/explain/mine/listed.log").read_text(encoding="utf-8")
    assert re.search(r"2 neurons: about 0 requests and 0 tokens to come; spent before: \d+ requests", log)
    assert "2 neurons: 0 requests sent, 0 tokens paid" in log
    assert {file: file.read_bytes() for file in files.values()} == before


def test_a_model_that_the_server_does_not_have_is_one_line(tmp_path: Path, served: tuple[str, str]) -> None:
    room = Room(tmp_path)
    make(folder=tmp_path / "my-model")
    room.write_texts()
    room.write_config(explain={"address": served[0], "model": "no/such-model", "tries": 1})
    done = room.snakemake("results/mine/explain/L0/N3.json")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {served[0]}: expected an answer")
