"""Which stages have to be decided on after an edit of a library module: those that use it, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gluscope.core import digest as under_test
from gluscope.stages import lock
from gluscope.stages.table import STAGES
from helpers.checkout import REPO
from helpers.twelve_edits import by_content

SHOWING = {"page", "side_by_side", "site_index"}
FORWARD = {"scan", "replay"}
VALUES = {"recompute"}
EXPORTS = {"export_gluscope_site", "export_neuronpedia"}
EDITS = {
    "dataset/tokenise.py": {"tokenise"},
    "dataset/plan.py": {"plan_shards", "merge", *FORWARD},
    "model/describe.py": {"fetch_model"},
    "model/load.py": {*FORWARD, *VALUES, "effect"},
    "scan/kernel.py": FORWARD | VALUES,
    "scan/reduce.py": FORWARD | VALUES,
    "scan/triton_kernel.py": {"triton"},
    "scan/triton_reduce.py": {"triton"},
    "scan/progress.py": set(),
    "summary/merge.py": {"merge", "take_activations"},
    "summary/shards.py": {"merge"},
    "weights/stage.py": {"weights"},
    "replay/stage.py": {"replay"},
    "summary/examples.py": {"replay", *VALUES},
    "recompute/from_cache.py": VALUES,
    "page/render.py": SHOWING,
    "page/templates/page.html.j2": SHOWING,
    "page/assets/page/texts.js": SHOWING,
    "page/record.py": SHOWING | EXPORTS,
    "page/finder.py": {"site_index"},
    "export/hf.py": {"export_hf"},
    "compare/lists.py": {"compare"},
    "config/keys.py": set(),
    "workflow/queue.py": set(),
    "stages/table.py": set(),
    "workflow/job.py": set(),
}


def digests(folder: Path) -> dict[str, str]:
    """The digest of each stage's code in a checkout, as it is now."""
    for cached in (under_test.code_behind, under_test.code_on_gpu, under_test.modules, lock.digest_of):
        cached.cache_clear()
    return {stage: lock.digest_of(stage, folder) for stage in STAGES}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPO / "scripts", folder / "scripts")
    return folder


def test_an_edit_is_to_be_decided_for_the_stages_that_use_the_module(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_tree", "code_of", "imports_of"):
        monkeypatch.setattr(under_test, name, by_content(getattr(under_test, name)))
    before, found = digests(checkout), {}
    for name in EDITS:
        file = checkout / "scripts/gluscope" / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\nX = 1\n", encoding="utf-8")
        after = digests(checkout)
        found[name] = {stage for stage in STAGES if after[stage] != before[stage]}
        file.write_text(text, encoding="utf-8")
    assert found == EDITS
    assert digests(checkout) == before
