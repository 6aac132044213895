"""Every change of a stage's code is decided: the lock says for which code each version stands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from gluscope.config.keys import DatasetConfig, RunConfig
from gluscope.core import digest
from gluscope.core.errors import OldVersion
from gluscope.stages import __main__ as command
from gluscope.stages import lock as under_test
from gluscope.stages import made, table
from gluscope.stages.lock import LOCK, Lock
from gluscope.stages.table import NOT_RESULTS, STAGES, Stage
from helpers.checkout import REPO


def test_every_stage_is_decided() -> None:
    """If this fails: `make stages` says which stages, and what there is to decide."""
    left = under_test.undecided(Lock.read(REPO / LOCK), REPO)
    assert not left, "\n" + "".join(map(command.told, left)) + command.NEXT


def test_the_lock_is_as_it_would_be_written() -> None:
    assert Lock.read(REPO / LOCK) == under_test.lock_now(REPO)


def test_the_table_has_what_rules_ask_for_and_every_script() -> None:
    rules = "".join(file.read_text(encoding="utf-8") for file in (REPO / "rules").glob("*.smk"))
    asked = set(re.findall(r'\bstage="(\w+)"\)', rules)) | set(re.findall(r"/versions/(\w+)\.json", rules))
    assert asked | {"triton"} == set(STAGES)
    scripts = set(re.findall(r'"../scripts/(\w+)\.py"', rules)) - {"stage_version"}
    assert scripts | {"triton"} == {about.script or name for name, about in STAGES.items()}


def test_every_key_of_the_config_is_some_stages_or_changes_no_results() -> None:
    known = {"run": RunConfig, "dataset": DatasetConfig}
    named = {(about.of, key) for about in STAGES.values() for key in about.keys}
    for of, key in named:
        assert key in known[of].known(), (of, key)
    for of, kind in known.items():
        left = kind.known().keys() - {key for kind_of, key in named if kind_of == of} - set(NOT_RESULTS)
        assert not left, f"name {left} in the table of stages, or in NOT_RESULTS"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two stages, `merge` and `scan`, which share a module."""
    stages = {"scan": Stage(1, "", on_gpu="triton"), "triton": Stage(1, ""), "merge": Stage(2, "ties")}
    for module in (under_test, table, command):
        monkeypatch.setattr(module, "STAGES", stages)
    files = {
        "scripts/scan.py": "import gluscope.store.summary\nimport gluscope.scan.reduce\n",
        "scripts/merge.py": "import gluscope.store.summary\n",
        "scripts/gluscope/store/summary.py": "X = 1\n",
        "scripts/gluscope/scan/reduce.py": "import gluscope.scan.triton_kernel\n",
        "scripts/gluscope/scan/triton_kernel.py": "X = 1\n",
        "scripts/gluscope/stages/table.py": (
            'STAGES = {\n    "scan": Stage(1, "", on_gpu="triton"),\n    "triton": Stage(1, ""),\n'
            '    "merge": Stage(2, "ties"),\n}\n'
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    forget()
    under_test.lock_now(tmp_path).save(tmp_path / LOCK)
    return tmp_path


def forget() -> None:
    for cached in (digest.code_behind, digest.code_on_gpu, digest.modules, digest.imports_of, digest.code_of):
        cached.cache_clear()
    digest._tree.cache_clear()
    under_test.digest_of.cache_clear()


def edit(checkout: Path, name: str, text: str = "X = 2\n") -> list[tuple[str, tuple[str, ...]]]:
    """What is to be decided after an edit: stages, with the files that moved."""
    (checkout / "scripts" / name).write_text(text)
    forget()
    return [(left.stage, left.files) for left in under_test.undecided(Lock.read(checkout / LOCK), checkout)]


def test_an_edit_asks_for_a_decision_on_the_stages_that_use_it(checkout: Path) -> None:
    shared, scan = ("gluscope/store/summary.py",), ("gluscope/scan/reduce.py",)
    assert edit(checkout, shared[0], '"""New words."""\nX = 1  # why\n') == []
    assert edit(checkout, shared[0]) == [("scan", shared), ("merge", shared)]
    assert edit(checkout, shared[0], "X = 1\n") == []
    assert edit(checkout, scan[0]) == [("scan", scan)]


def test_triton_is_decided_apart(checkout: Path) -> None:
    kernel = ("gluscope/scan/triton_kernel.py",)
    assert edit(checkout, kernel[0]) == [("triton", kernel)]


def test_a_decision_is_for_the_stages_it_names(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "gluscope/store/summary.py"
    edit(checkout, name)
    assert command.main([], checkout) == 1
    assert "scan (version 1): gluscope/store/summary.py\n" in capsys.readouterr().out
    assert command.main(["same", "scan"], checkout) == 1
    assert capsys.readouterr().out.startswith("merge (version 2): gluscope/store/summary.py\n")
    assert command.main(["same", "all"], checkout) == 0
    assert Lock.read(checkout / LOCK) == under_test.lock_now(checkout)


def test_a_version_is_raised_in_the_table_and_in_the_lock(checkout: Path) -> None:
    edit(checkout, "gluscope/store/summary.py")
    assert command.main(["raise", "merge", 'ties: the "higher" row'], checkout) == 1
    source = (checkout / "scripts/gluscope/stages/table.py").read_text()
    assert '    "merge": Stage(3, "ties: the \\"higher\\" row"),\n' in source
    assert '    "scan": Stage(1, "", on_gpu="triton"),\n' in source
    locked = Lock.read(checkout / LOCK)
    assert (locked.stages["merge"][0], locked.stages["scan"][0]) == (3, 1)


def test_a_version_that_was_raised_by_hand_is_to_be_recorded(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(under_test.STAGES, "merge", replace(under_test.STAGES["merge"], version=3))
    assert edit(checkout, "gluscope/scan/triton_kernel.py", "X = 1\n") == [("merge", ())]
    assert command.main(["same", "all"], checkout) == 0


def test_wrong_calls_are_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["same", "scann"], checkout) == 2
    assert "expected the name of a stage, found 'scann'" in capsys.readouterr().err
    assert command.main(["raise", "scan"], checkout) == 2
    (checkout / LOCK).write_text("<<<<<<< HEAD\n")
    assert command.main([], checkout) == 2
    assert "not a line of it" in capsys.readouterr().err


def test_stores_of_another_version_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "STAGES", {"scan": Stage(2, "ties"), "merge": Stage(1)})
    files = [tmp_path / name / "zarr.json" for name in ("a.zarr", "b.zarr")]
    for file in files:
        file.parent.mkdir()

    def refusal(*abouts: dict[str, object] | None) -> tuple[str, int]:
        for file, about in zip(files, abouts, strict=True):
            file.write_text("{" if about is None else json.dumps({"attributes": about}))
        with pytest.raises(OldVersion) as error:
            made.refuse_old([str(tmp_path / "tokens.json"), *map(str, files)])
        assert error.value.redo[0] == error.value.where
        return str(error.value).removeprefix(str(tmp_path)), len(error.value.redo)

    good = {"stages": {"scan": "2", "merge": "1 0123456789abcdef"}}
    line, stores = refusal(good, {"stages": {"scan": "1", "merge": "1"}})
    assert line.startswith("/b.zarr: expected version 2 of the stage scan (ties), found version 1. Next: remove ")
    assert stores == 1
    line, stores = refusal({"stages": {"merge": "3"}}, {})
    assert ("version 1 of the stage merge, found version 3 (and 1 more" in line, stores) == (True, 2)
    assert "the versions of the stages that made it, found none" in refusal(good, {})[0]
    assert "found that of gone" in refusal(good, {"stages": {"gone": "1"}})[0]
    # What cannot be read is for the reader to refuse.
    for about, file in zip((good, None), files, strict=True):
        file.write_text("{" if about is None else json.dumps({"attributes": about}))
    made.refuse_old(map(str, files))
