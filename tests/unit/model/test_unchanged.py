"""A model's files that were replaced under way are noticed, at a cost of a few stats."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gluscope.core.errors import ModelError
from gluscope.model import unchanged
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import models_unchanged, refuse_replaced, revision_now
from gluscope.store.atomic import new_file


def save(folder: Path, weights: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)


def spec_of(folder: Path, revision: str) -> ModelSpec:
    return ModelSpec("m", revision, str(folder), "X", 1, 1, 1, 1, "silu", "g", "i", "o", "e", "u")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".snakemake").mkdir()
    save(tmp_path / "model", b"one")
    monkeypatch.chdir(tmp_path)
    unchanged._read_all.cache_clear()
    return tmp_path


def test_replaced_files_are_named_with_both_revisions(room: Path) -> None:
    spec = spec_of(Path("model"), revision_now(Path("model")))
    refuse_replaced(spec)
    save(room / "model", b"two")
    before, now = spec.revision[:19], revision_now(Path("model"))[:19]
    with pytest.raises(ModelError) as error:
        refuse_replaced(spec)
    assert str(error.value) == (
        f"model: expected revision {before}, which this run was planned for, found {now} (config.json, "
        "model.safetensors): its files were replaced. Next: run the same command again: it begins with the files as "
        "they are now."
    )


def test_the_same_bytes_under_new_dates_are_the_same_model(room: Path) -> None:
    spec = spec_of(Path("model"), revision_now(Path("model")))
    os.utime("model/model.safetensors", (1, 1))
    refuse_replaced(spec)


def test_files_are_read_once(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(Path("model"), revision_now(Path("model")))
    unchanged._read_all.cache_clear()  # another process
    monkeypatch.setattr(unchanged, "fingerprint", lambda folder: pytest.fail("read again"))
    refuse_replaced(spec)


def test_a_file_of_another_size_but_the_old_date(room: Path) -> None:
    path = Path("model/model.safetensors")
    stat, spec = path.stat(), spec_of(Path("model"), revision_now(Path("model")))
    path.write_bytes(b"six")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelError, match=r"found sha256:\w+ \(model.safetensors\): its files were replaced"):
        refuse_replaced(spec)


def test_replaced_while_the_job_runs(room: Path) -> None:
    spec_of(Path("model"), revision_now(Path("model"))).save("model.json")
    with models_unchanged(["model.json", "other.json"]):
        with new_file("before") as part:
            part.write_text("whole")
        save(room / "model", b"two")
        with pytest.raises(ModelError, match="its files were replaced"), new_file("after") as part:
            part.write_text("of two models")
    assert Path("before").exists()
    assert not Path("after").exists()


def test_a_hub_snapshot_and_a_damaged_description_are_left_to_others(room: Path) -> None:
    refuse_replaced(spec_of(Path("elsewhere"), "0123abcd"))
    Path("model.json").write_text("{")
    with models_unchanged(["model.json"]):
        pass


def test_a_folder_that_has_gone(room: Path) -> None:
    spec = spec_of(Path("model"), revision_now(Path("model")))
    for file in Path("model").iterdir():
        file.unlink()
    with pytest.raises(ModelError, match=r"model: expected weights in safetensors .* found none"):
        refuse_replaced(spec)
