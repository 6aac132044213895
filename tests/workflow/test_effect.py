"""A run that measures effects, as a user has it: files, page, table; what runs again; what is refused."""

from __future__ import annotations

import re

import numpy as np
import pyarrow.parquet
import pytest
from gluscope.core.cases import CASES
from gluscope.core.neuron import NeuronId
from gluscope.effect.types import Effect
from gluscope.page.pack import unpack
from helpers.room import Room
from helpers.tiny_models import make


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = Room(tmp_path_factory.mktemp("effect"))
    make(folder=room.folder / "my-model")
    room.write_texts()
    room.write_config(effect=3, refactor_glu=True)
    for targets in (("all", "results/mine/site/L1/N9.html"), ("results/mine/export/neurons.parquet",)):
        done = room.snakemake(*targets)  # the table has what is there of unlisted neurons
        assert done.returncode == 0, done.stdout + done.stderr
    return room


def header(room: Room, neuron: str) -> dict:  # type: ignore[type-arg]
    page = (room.folder / f"results/mine/site/{neuron}.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found
    return unpack(found[1].strip())[0]


def test_files_pages_and_table_say_the_same(room: Room) -> None:
    table = pyarrow.parquet.read_table(room.folder / "results/mine/export/neurons.parquet").to_pylist()
    by_name = {f"L{row['layer']}/N{row['neuron']}": row for row in table}
    for name in ("L0/N3", "L1/N7", "L1/N9"):
        effect, about = (
            Effect.read(room.folder / f"results/mine/effect/{name}.npz", NeuronId.parse(name)),
            header(room, name),
        )
        assert effect.row.shape == (4, 2, 3)
        assert effect.dtype == about["effect"]["dtype"] == "float32"
        for case in CASES:
            at = (case.flipped if about["sign"] < 0 else case).index
            shown = about["effect"]["cases"][case.value]["position"]
            assert ("strongest" in shown) == bool((effect.row[at, 0] >= 0).any())
            if "strongest" in shown:
                kl = effect.kl[0, at, 0].astype(np.float64)
                assert shown["strongest"]["kl"][0] == np.nanmean(kl)
                assert by_name[name][f"{case.value}_effect_kl"] == np.float32(np.nanmean(kl))
    assert by_name["L0/N4"]["gate+_in+_effect_kl"] is None
    log = (room.folder / "logs/effect/mine/L1-N0-65535.log").read_text(encoding="utf-8")
    assert re.search(
        r"1 neurons; each [\d.]+ examples, forward passes [\d.]+ whole and [\d.]+ from the layer on, ", log
    )


def test_the_finder_has_it(room: Room) -> None:
    [packed] = re.findall(r'"([^"]{200,})"', (room.folder / "results/mine/site/finder/L1.js").read_text())
    found = unpack(packed)[1]["effect"]
    kl = Effect.read(room.folder / "results/mine/effect/L1/N7.npz").kl[0, :, 0].astype(np.float64)
    assert found[7] == np.float16(np.nanmax(np.nanmean(kl, axis=1)))
    assert found[8] == -1


def test_nothing_is_done_twice_and_what_has_gone_is_made_again(room: Room) -> None:
    assert room.plan() == {}
    file = room.folder / "results/mine/effect/L1/N7.npz"
    before = file.read_bytes()
    file.unlink()
    plan = room.plan()
    assert plan["effect_batch"] == 1
    assert room.snakemake().returncode == 0
    assert file.read_bytes() == before
    room.write_config(effect=2, refactor_glu=True)
    assert {"stage_version", "effect_batch", "page"} <= room.plan().keys()
    assert not {"scan", "merge", "recompute"} & room.plan().keys()
    room.write_config(refactor_glu=True)
    assert room.plan() == {"page": 2, "site_index": 1, "all": 1}
    room.write_config(effect=3, refactor_glu=True)


def test_a_run_that_measures_nothing_says_so(room: Room) -> None:
    room.write_config(refactor_glu=True)
    done = room.snakemake("results/mine/effect/L0/N3.npz", "-n", "--forcerun", "effect")
    room.write_config(effect=3, refactor_glu=True)
    assert done.returncode != 0
    assert "error: results/mine/effect/L0/N3.npz: expected `effect: true` in the run mine" in done.stdout + done.stderr


def test_a_start_says_what_is_made_again_and_why(room: Room) -> None:
    """The last one here: it leaves other effects behind."""
    room.write_config(effect=2, refactor_glu=True)
    done = room.snakemake("results/mine/effect/L1/N9.npz")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "stage_version again: `effect` of run mine is 2, was 3." in said
    done = room.snakemake("results/mine/effect/L1/N9.npz")
    assert " again: " not in done.stdout + done.stderr
