"""Who may import what: parts depend downwards only, and what has to be quick imports nothing heavy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gluscope.core.digest import imports_of, modules
from gluscope.core.paths import STATE
from helpers.checkout import REPO

SCRIPTS = REPO / "scripts"
HEAVY = {"torch", "transformers", "transformer_lens", "datasets", "zarr", "numba", "tensorstore", "pandas", "scipy"}
# Lowest first. Parts in one group know nothing of each other.
LAYERS = [
    {"core"},
    {"store", "stages"},
    {"config", "model", "dataset", "demo"},
    {"summary", "cache"},
    {"scan", "weights"},
    {"replay"},
    {"recompute"},
    {"page"},
    {"export", "compare"},
    {"workflow"},
    {"browse"},
]
MAY = {("demo", "dataset")}
# Other people's packages that only one part may import, at the top or in a function.
OWNERS = {"datasets": {"dataset"}, "zarr": {"store"}, "tensorstore": {"store"}, "transformer_lens": {"model"}}


def library() -> dict[str, Path]:
    """All modules of the library by dotted name."""
    files = sorted((SCRIPTS / "gluscope").rglob("*.py"))
    return {".".join(file.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def imported(module: str, file: Path) -> set[str]:
    return set(imports_of(file, module if file.name == "__init__.py" else module.rpartition(".")[0]))


def test_every_part_has_its_place() -> None:
    rooms = {path.parent.name for path in (SCRIPTS / "gluscope").glob("*/__init__.py")}
    assert rooms == set().union(*LAYERS)


def test_dependencies_point_down() -> None:
    height = {name: number for number, group in enumerate(LAYERS) for name in group}
    known, wrong = library(), []
    for module, file in known.items():
        for other in imported(module, file) & set(known):
            if room(other) in ("", room(module)) or (room(module), room(other)) in MAY:
                continue
            if height.get(room(other), len(LAYERS)) >= height[room(module)]:
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_only_the_owner_of_a_package_imports_it() -> None:
    wrong = [
        f"{module} imports {package}"
        for module, file in library().items()
        for package, owners in OWNERS.items()
        if package in {name.split(".")[0] for name in imported(module, file)} and room(module) not in owners
    ]
    assert not wrong


def test_only_the_room_of_the_workflow_knows_snakemake_and_slurm() -> None:
    """No import and no word of them elsewhere, but for what users are told to type, and for the folder of state."""
    typed = ("`snakemake ", "`snakemake`", '"snakemake --cores')
    for module, file in library().items():
        if room(module) == "workflow":
            continue
        names = imported(module, file)
        assert not any(name.split(".")[0].startswith("snakemake") for name in names), module
        assert not names & {"argparse", "sys.argv"}, module
        text = file.read_text(encoding="utf-8")
        for words in (*typed, f'STATE = "{STATE}"'):
            text = text.replace(words, "")
        text = text.replace("GLUScope Snakemake workflow", "")  # what a page says of where it comes from
        found = re.findall(r"(?i)\b\.?snakemake|slurm|squeue|sbatch|smk\.", text)
        assert not found, f"{module}: {found}"


@pytest.mark.parametrize("stage", ["page", "site_index", "recompute", "fetch_dataset"])
def test_what_has_to_start_quickly_imports_nothing_heavy(stage: str) -> None:
    assert not heavy_after(f"import {stage}")


def test_reading_the_rules_imports_nothing_heavy() -> None:
    assert not heavy_after("import gluscope.workflow.start; from gluscope.config.load import load")


def heavy_after(statement: str) -> set[str]:
    """Heavy packages that are loaded after a statement in a fresh Python."""
    code = f"import sys, json; sys.path.insert(0, {str(SCRIPTS)!r}); {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)} & HEAVY


def test_a_change_of_the_pages_never_asks_for_a_scan() -> None:
    for stage in ("fetch_model", "tokenise", "plan_shards", "scan", "merge", "weights", "recompute"):
        used = modules(SCRIPTS / f"{stage}.py", SCRIPTS)
        assert not [name for name in used if room(name) in ("page", "export", "config", "demo")], stage


def test_stages_use_what_they_should() -> None:
    used = {stage: {room(name) for name in modules(SCRIPTS / f"{stage}.py", SCRIPTS)} for stage in ("scan", "page")}
    assert {"core", "model", "dataset", "scan", "store"} <= used["scan"]
    assert {"core", "page", "store"} <= used["page"]
    assert "scan" not in used["page"]
