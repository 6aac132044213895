"""The live site of a tiny run: pages made when asked for, as files equal to Snakemake's, once, and within the site."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gluscope.browse.maker import PageMaker
from gluscope.core.neuron import NeuronId
from gluscope.effect.types import Effect
from gluscope.page.pack import unpack
from gluscope.page.refresh import start_page
from gluscope.page.render import render_page
from gluscope.page.results import RunResults
from gluscope.recompute.stage import Origin, recompute
from gluscope.stages.made import refuse_old
from helpers.live import client, served
from helpers.tiny_run import SHARDS, TinyRun

RUN = TinyRun.run
NEW = NeuronId(0, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, before = tmp_path_factory.mktemp("live"), Path.cwd()
    os.chdir(folder)
    TinyRun().make()
    os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards the pages that a test made are gone."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("gluscope.browse.maker.refuse_old", lambda files: None)  # the tiny run's stores name no stages
    before = set(Path(RUN.root).rglob("*"))
    yield
    for path in sorted(set(Path(RUN.root).rglob("*")) - before, reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def made_by_rules(neuron: NeuronId) -> tuple[bytes, bytes]:
    """What the jobs of Snakemake write: the recomputed values, and the page."""
    out = Path("values.npz")
    folders = [Path(RUN.cache(f"{shard:04d}")).parent for shard in range(SHARDS)]
    spec = RunResults.open("tiny", served()).spec
    data = TinyRun.data.folder
    recompute(spec, RUN.summary, data, neuron.layer, {neuron.neuron: out}, Origin("cache", folders, "cpu"))
    values = out.read_bytes()
    path = Path(RUN.neuron(neuron))
    path.parent.mkdir(exist_ok=True)
    out.rename(path)
    page = render_page(RunResults.open("tiny", served()).neuron(neuron, served().command(neuron)))
    path.unlink()
    return values, page.encode()


def kept(neuron: NeuronId) -> Path:
    """The page's file, once it is there."""
    path = Path(served().page(neuron))
    for _ in range(200):
        if path.exists():
            return path
        time.sleep(0.05)
    raise AssertionError(f"{path} was not made")


def test_a_neuron_without_a_page_opens_and_its_files_are_those_of_the_rules() -> None:
    values, page = made_by_rules(NEW)
    with client(PageMaker(served())) as web:
        answer = web.get(f"/site/{NEW}.html")
        assert answer.status_code == 200
        assert b"window.gluscopeLive = " in answer.content
        assert kept(NEW).read_bytes() == page
        assert Path(served().values(NEW)).read_bytes() == values
    assert b"window.gluscopeLive = " not in page


def test_what_is_made_is_newer_than_what_it_is_made_from() -> None:
    maker = PageMaker(served())
    with client(maker) as web:
        web.get(f"/site/{NEW}.html")
        date = kept(NEW).stat().st_mtime_ns
        files = [served().values(NEW), *map(RUN.version, ("page", "recompute")), RUN.summary, RUN.weights, RUN.model]
        assert all(Path(file).stat().st_mtime_ns <= date for file in files)
        assert maker.kept(NEW) is not None
        time.sleep(0.02)
        os.utime(RUN.weights)
        assert maker.kept(NEW) is None
        web.get(f"/site/{NEW}.html")
    assert kept(NEW).stat().st_mtime_ns > date


def test_a_measured_effect_is_shown_and_its_values_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is the one that the rules make, and the effect stays newer than the values that it was measured from."""
    measuring = served(measures=True)
    with client(PageMaker(measuring)) as web:
        web.get(f"/site/{NEW}.html")
        assert "effect" not in unpacked(kept(NEW))
        values = Path(measuring.values(NEW)).stat().st_mtime_ns
        effect = Path(measuring.found_besides(NEW)["effect"])
        effect.parent.mkdir(parents=True)
        made_up_effect(NEW).save(effect)
        web.get(f"/site/{NEW}.html")
        for _ in range(200):
            if "effect" in (found := unpacked(kept(NEW))):
                break
            time.sleep(0.05)
        assert found["effect"]["cases"]["gate-_in-"]["position"]["strongest"]["change"] == [0.5, 0.0, 1]
    assert Path(measuring.values(NEW)).stat().st_mtime_ns == values
    page = RunResults.open("tiny", SimpleNamespace(**vars(measuring), effect=["a marker"])).neuron(
        NEW, measuring.command(NEW)
    )
    assert kept(NEW).read_bytes() == render_page(page).encode()


def unpacked(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return unpack(text.partition('id="data">')[2].partition("</script>")[0])[0]


def made_up_effect(neuron: NeuronId) -> Effect:
    """One example of the case gate-_in- of the raw convention; the other cases have none."""
    row = np.full((4, 2, 1), -1, np.int64)
    row[3, 0] = 0
    change = np.full((2, 4, 2, 1), np.nan, np.float32)
    change[:, 3, 0] = 0.5
    none = np.full((2, 4, 2), np.nan, np.float32)
    token = np.full((2, 4, 2, 2, 3), -1, np.int32)
    return Effect(
        neuron.layer, neuron.neuron, "", "float32", row, np.where(row < 0, -1, 2).astype(np.int32),
        np.where(row < 0, -1, 5).astype(np.int32), np.ones(row.shape, np.float32), -np.ones(row.shape, np.float32),
        change, np.abs(change), token, np.full(token.shape, np.nan, np.float32), none, none,
    )  # fmt: skip


def test_a_page_of_another_version_is_made_anew() -> None:
    with client(PageMaker(served())) as web:
        web.get(f"/site/{NEW}.html")
    newer = served(versions={**served().versions, "page": '{"stages": {"page": "2"}, "settings": {}}\n'})
    maker = PageMaker(newer)
    assert maker.kept(NEW) is None
    with client(maker) as web:
        web.get(f"/site/{NEW}.html")
    assert maker.kept(NEW) is not None
    assert Path(RUN.version("page")).read_text() == newer.versions["page"]


def test_eight_clicks_at_once_make_a_page_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[NeuronId] = []
    make = PageMaker.make

    def counting(self: PageMaker, neuron: NeuronId) -> Any:
        made.append(neuron)
        return make(self, neuron)

    monkeypatch.setattr(PageMaker, "make", counting)
    neurons = [NEW, NeuronId(1, 11)]
    with client(PageMaker(served())) as web, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: web.get(f"/site/{neurons[i % 2]}.html"), range(16)))
        assert {answer.status_code for answer in answers} == {200}
    assert sorted(made) == sorted(neurons)


def test_the_start_page_lists_what_was_made() -> None:
    with client(PageMaker(served())) as web:
        web.get(f"/site/{NEW}.html")
        kept(NEW)
        assert web.get("/site/index.html").status_code == 200
    known = start_page(Path(RUN.index))
    assert known is not None
    assert (NEW.layer, NEW.neuron) in [(card["layer"], card["neuron"]) for card in known["cards"]]


def test_many_pages_are_made_one_after_another() -> None:
    names = ["L0/N20", "L1/N21", "L1/N22"]
    with client(PageMaker(served())) as web:
        answer = web.post("/make", json={"neurons": names})
        assert answer.status_code == 202
        assert answer.json()["pages"] == {name: {"url": f"/site/{name}.html"} for name in names}
        while web.get("/make").json()["waiting"]:
            time.sleep(0.05)
    for name in names:
        assert Path(served().page(NeuronId.parse(name))).is_file()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"neurons": []}, 400),
        ({"neurons": "L0/N3"}, 400),
        ({"neurons": ["L0/N3", "L00/N3"]}, 400),
        ({"neurons": [3]}, 400),
        ({"neurons": ["L0/N3"] * 257}, 400),
        ({"neurons": ["L7/N3"]}, 404),
        ({"neurons": ["L0/N3"], "more": "x" * (1 << 18)}, 413),
    ],
)
def test_a_wrong_call_to_make_pages_is_refused_in_one_line(body: dict[str, Any], status: int) -> None:
    with client(PageMaker(served())) as web:
        answer = web.post("/make", json=body)
        assert answer.status_code == status
        assert "\n" not in answer.json()["error"]
        assert web.post("/make", content=b'{"neurons": ["L0/N3"]}').status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "../model.json",
        "%2e%2e/model.json",
        "..%2fmodel.json",
        "L0/../../model.json",
        "//etc/passwd",
        ".files.json",
        "L0/.N3.html.writing-x",
        "finder",
        "L0/N03.html",
        "L0/N5.html%00",
        "outside.html",
        "finder/L0.js/..",
    ],
)
def test_nothing_outside_the_site_is_shown(path: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.html"
    secret.write_text("secret")
    link = Path(RUN.site) / "outside.html"
    link.symlink_to(secret)
    with client(PageMaker(served())) as web:
        answer = web.get(f"/site/{path}")
        assert answer.status_code == 404
        assert "secret" not in answer.text
        assert web.get("/site/finder/L0.js").status_code == 200


def test_a_neuron_that_the_model_does_not_have() -> None:
    with client(PageMaker(served())) as web:
        answer = web.get("/site/L2/N3.html")
    assert answer.status_code == 404
    assert "L2/N3" in answer.text


def test_pages_from_the_model_want_one() -> None:
    with client(PageMaker(served(source="model"))) as web:
        answer = web.get(f"/site/{NEW}.html")
    assert answer.status_code == 409
    assert "MODEL=1" in answer.text


def test_results_of_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gluscope.browse.maker.refuse_old", refuse_old)
    with client(PageMaker(served())) as web:
        answer = web.get(f"/site/{NEW}.html")
    assert answer.status_code == 409
    assert "the versions of the stages that made it" in answer.text


def test_what_is_made_under_way_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake may merge again while the server runs."""
    maker = PageMaker(served())
    first = maker.results
    assert maker.results is first
    os.utime(RUN.summary)
    assert maker.results is not first


def test_where_nothing_can_be_written_pages_are_shown_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "results")

    monkeypatch.setattr("gluscope.browse.maker._write", refuse)
    said: list[str] = []
    with client(PageMaker(served(), say=said.append)) as web:
        assert b"shown and not kept" not in web.get(f"/site/{NEW}.html").content
        while web.get("/make").json()["waiting"]:
            time.sleep(0.01)
        assert b"shown and not kept" in web.get(f"/site/{NEW}.html").content
        start = web.get("/site/index.html")
    assert not Path(served().page(NEW)).exists()
    assert len(said) == 1
    Path("index.html").write_bytes(start.content)
    known = start_page(Path("index.html"))
    assert known is not None
    assert (NEW.layer, NEW.neuron) in [(card["layer"], card["neuron"]) for card in known["cards"]]


def test_a_page_that_cannot_be_made_again_is_shown_as_it_is() -> None:
    with client(PageMaker(served())) as web:
        web.get(f"/site/{NEW}.html")
        kept(NEW)
    os.utime(RUN.summary)
    gone = served(kept=["results/tiny/cache/0007.zarr/zarr.json"])
    with client(PageMaker(gone)) as web:
        answer = web.get(f"/site/{NEW}.html")
        assert answer.status_code == 200
        assert b"may be older" in answer.content
        other = web.get("/site/L0/N6.html")
    assert other.status_code == 409
    assert "0007.zarr" in other.text
