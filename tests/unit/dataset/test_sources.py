"""Hub sources and tokenizers: fetched once with their commit, then read offline; what is told where that fails."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gluscope.core.errors import DatasetError
from gluscope.dataset.sources import Located, Sources, fetch
from helpers.checkout import REPO
from helpers.fake_hub import FakeHub
from helpers.tiny_models import make_tokenizer

CARD = b"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
"""
SCRIPT = """
import json, os, socket, sys
from gluscope.core.errors import GluscopeError
from gluscope.dataset.build import build
from gluscope.dataset.sources import Sources, fetch
from helpers.settings import token_settings
record, split, step = sys.argv[1:4]
try:
    if step == "fetch":
        fetch(*json.loads(sys.argv[4])).save(record)
    else:
        build(sys.argv[4], Sources.read(record), token_settings(split=split))
except GluscopeError as error:
    sys.exit(str(error))
"""


def parquet(**columns: list) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("HF_") and not key.endswith("_OFFLINE")
    }
    environment = {**kept, "PYTHONPATH": f"{REPO / 'scripts'}:{REPO / 'tests'}", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory):
    tokenizer = make_tokenizer(tmp_path_factory.mktemp("hub-tokenizer"))
    model = {path.name: path.read_bytes() for path in tokenizer.iterdir()} | {"model.safetensors": b"weights"}
    texts = {
        "README.md": CARD,
        "data/train-0.parquet": parquet(text=["one two", "three"], id=[7, 8]),
        "data/test-0.parquet": parquet(text=["four"], id=[9]),
        "texts.py": b"raise SystemExit('code of a data set was run')",
        "old.pkl": b"pickled",
    }
    with FakeHub({("dataset", "user/texts"): texts, ("model", "user/model"): model}) as hub:
        yield hub


@pytest.fixture(scope="module")
def fetched(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """An environment whose cache holds both repositories, and the record of the fetch."""
    folder = tmp_path_factory.mktemp("fetched")
    environment = hub.environment(folder / "cache")
    done = run(environment, str(folder / "source.json"), "train", "fetch", json.dumps(["user/texts", "user/model"]))
    assert done.returncode == 0, done.stderr
    return environment, folder / "source.json"


def test_fetch_records_id_commit_and_place(hub: FakeHub, fetched: tuple[dict[str, str], Path]) -> None:
    sources = Sources.read(fetched[1])
    assert sources.tokenizer is not None
    for located, name in ((sources.source, "user/texts"), (sources.tokenizer, "user/model")):
        assert (located.id, located.revision) == (name, hub.commit)
        assert Path(located.folder).is_dir()


def test_neither_code_nor_pickles_nor_weights_are_fetched(hub: FakeHub, fetched: tuple[dict[str, str], Path]) -> None:
    assert "data/train-0.parquet" in hub.served
    assert "tokenizer.json" in hub.served
    assert not {"texts.py", "old.pkl", "model.safetensors"} & set(hub.served)


@pytest.mark.parametrize(("split", "rows"), [("train", [7, 8]), ("test", [9])])
def test_what_was_fetched_is_read_offline(fetched, tmp_path: Path, split: str, rows: list[int]) -> None:
    from gluscope.dataset.reader import TokenDataset

    environment, record = fetched
    # An address nobody listens at: any look at the network fails at once.
    environment = {**environment, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = run(environment, str(record), split, "build", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    data = TokenDataset.open(tmp_path / "out")
    assert [data.metadata(row)["id"] for row in range(len(data))] == rows
    assert data.record.source == {"id": "user/texts", "revision": FakeHub.commit}
    assert data.record.tokenizer == {"id": "user/model", "revision": FakeHub.commit}


def test_split_that_the_hub_lacks_is_named(fetched, tmp_path: Path) -> None:
    environment, record = fetched
    done = run({**environment, "HF_HUB_OFFLINE": "1"}, str(record), "val", "build", str(tmp_path / "out"))
    assert "user/texts: expected the split 'val', found" in done.stderr
    assert "train" in done.stderr
    assert "test" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wanted", "extra", "found"),
    [
        (["user/nothing", None], {}, "no repository of that name"),
        (["user/texts", None, "v9"], {}, "no revision 'v9'"),
        (["user/texts", None], {"HF_HUB_OFFLINE": "1"}, "nothing in its cache"),
        (["user/texts", None], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "nothing in its cache"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(hub, tmp_path: Path, wanted: list, extra: dict, found: str) -> None:
    environment = {**hub.environment(tmp_path / "cache"), **extra}
    done = run(environment, str(tmp_path / "source.json"), "train", "fetch", json.dumps(wanted))
    assert done.stderr.strip().splitlines()[-1].startswith(f"{wanted[0]}: expected a data set here, on the hub")
    assert found in done.stderr
    assert not (tmp_path / "source.json").exists()


def test_local_sources_need_no_hub(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("x")
    sources = fetch(str(file), str(tmp_path))
    assert sources == Sources(Located(str(file), str(file)), Located(str(tmp_path), str(tmp_path)))
    sources.save(tmp_path / "source.json")
    assert Sources.read(tmp_path / "source.json") == sources


def test_missing_path_and_revision_of_a_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing of that name"):
        fetch(str(tmp_path / "none.jsonl"), None)
    with pytest.raises(DatasetError, match=r"tokenizer's file or folder.*nothing of that name"):
        fetch(str(tmp_path), str(tmp_path / "no-model"))
    with pytest.raises(DatasetError, match="leave `revision` out"):
        fetch(str(tmp_path), None, "main")
