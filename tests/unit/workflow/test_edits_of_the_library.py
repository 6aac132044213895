"""Which stages an edit of a library module runs again: those that use it, and no others. What follows, files tell."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gluscope.core import digest as under_test
from gluscope.workflow import STAGE_DATA
from helpers.checkout import REPO

STAGES = sorted(
    {stage for file in (REPO / "rules").glob("*.smk") for stage in re.findall(r'\bcode\("(\w+)"\)', file.read_text())}
)
SHOWING = {"page", "site_index"}
FORWARD = {"scan", "replay"}
VALUES = {"recompute"}
EXPORTS = {"export_gluscope_site", "export_neuronpedia"}
EDITS = {
    "dataset/tokenise.py": {"tokenise"},
    "dataset/plan.py": {"plan_shards", "merge", *FORWARD},
    "model/describe.py": {"fetch_model"},
    "model/load.py": FORWARD | VALUES,
    "scan/kernel.py": FORWARD,
    "scan/reduce.py": FORWARD,
    "scan/progress.py": set(),
    "summary/merge.py": {"merge", "take_activations"},
    "summary/shards.py": {"merge"},
    "weights/stage.py": {"weights"},
    "recompute/replay.py": {"replay"},
    "recompute/examples.py": {"replay", *VALUES},
    "recompute/from_cache.py": VALUES,
    "page/render.py": SHOWING,
    "page/templates/page.html.j2": SHOWING,
    "page/assets/js/40-heat.js": SHOWING,
    "page/record.py": SHOWING | EXPORTS,
    "page/finder.py": {"site_index"},
    "export/hf.py": {"export_hf"},
    "compare/lists.py": {"compare"},
    "config/schema.py": set(),
    "job.py": set(),
}


def digests(folder: Path) -> dict[str, str]:
    """The digest of each stage's code in a checkout's `scripts`, as it is now."""
    under_test.digest.cache_clear()
    under_test.modules.cache_clear()
    data = {stage: tuple(folder / "gluscope" / part for part in STAGE_DATA.get(stage, ())) for stage in STAGES}
    return {stage: under_test.digest(folder / f"{stage}.py", folder, data[stage]) for stage in STAGES}


def by_content(cached: Any) -> Callable[..., Any]:
    """A function of a file, kept by what is in the file: those that are not edited are looked through once."""
    known: dict[Any, Any] = {}

    def look(path: Path, *more: str) -> Any:
        key = path.read_bytes(), *more
        if key not in known:
            known[key] = cached.__wrapped__(path, *more)
        return known[key]

    return look


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(REPO / "scripts", tmp_path_factory.mktemp("checkout") / "scripts")


def test_an_edit_makes_again_the_stages_that_use_the_module(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_tree", "code_of", "imports_of"):
        monkeypatch.setattr(under_test, name, by_content(getattr(under_test, name)))
    assert len(STAGES) > 15
    before, found = digests(scripts), {}
    for name in EDITS:
        file = scripts / "gluscope" / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\nX = 1\n", encoding="utf-8")
        after = digests(scripts)
        found[name] = {stage for stage in STAGES if after[stage] != before[stage]}
        file.write_text(text, encoding="utf-8")
    assert found == EDITS
    assert digests(scripts) == before
