"""Who may import what: parts depend downwards only, and what has to be quick imports nothing heavy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from gluscope.core.digest import imports_of, modules
from gluscope.core.paths import STATE
from gluscope.dataset.build import build
from gluscope.dataset.sources import fetch
from gluscope.summary.file import write_summary
from helpers.checkout import PATIENCE, REPO
from helpers.settings import token_settings
from helpers.summaries import random_layer, random_sample, shard_attributes

SCRIPTS = REPO / "scripts"
HEAVY = {
    "torch", "transformers", "transformer_lens", "datasets", "tokenizers", "huggingface_hub", "zarr", "numba",
    "tensorstore", "pandas", "scipy",
}  # fmt: skip
# Lowest first. Parts in one group know nothing of each other.
LAYERS = [
    {"core"},
    {"store", "stages"},
    {"config", "model", "dataset", "demo"},
    {"summary", "cache"},
    {"scan", "weights", "descriptions"},
    {"replay"},
    {"recompute"},
    {"effect", "explain"},
    {"page"},
    {"export", "compare"},
    {"workflow"},
    {"browse"},
]
MAY = {("demo", "dataset")}
# Other people's packages that only one part may import, at the top or in a function.
OWNERS = {"datasets": {"dataset"}, "zarr": {"store"}, "tensorstore": {"store"}, "transformer_lens": {"model"},
          "httpx": {"explain"}}  # fmt: skip

QUICK = {
    "reading the rules": "import gluscope.workflow.start; from gluscope.config.load import load_config",
    "a page": "import page",
    "a start page": "import site_index",
    "recomputing": "import recompute",
    "fetching texts": "import fetch_dataset",
    "the scan's loop": "import gluscope.scan.loop",
    "what a model's folder says": "from gluscope.model.describe import peek; peek('.'); "
    "from gluscope.model.rows import WeightRows; from gluscope.core.activation import act; act('gelu')",
    "reading texts and planning": "from gluscope.dataset.plan import make_plan; "
    "from gluscope.dataset.reader import TokenDataset; data = TokenDataset.open(folder + '/tokens'); "
    "make_plan(data, 3); data.input_ids(4); data.metadata(4)",
    "a neuron of a summary": "from gluscope.summary.file import SummaryReader; "
    "SummaryReader(folder + '/0000.zarr.zip').neuron(1, 2)",
}
_STEP_BY_STEP = """
import json, sys
sys.path.insert(0, {scripts!r})
folder, loaded, before = {folder!r}, dict(), set()
for name, statement in {steps!r}.items():
    exec(statement)
    now = {{module.split(".")[0] for module in sys.modules}} & set({heavy!r})
    loaded[name], before = sorted(now - before), now
print(json.dumps(loaded))
"""


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


def test_what_has_to_be_quick_imports_nothing_heavy(tmp_path: Path) -> None:
    """One fresh Python does it all, one thing after another; named is what each step is the first to load."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"input_ids": [1, 2, 3]}\n' * 5, encoding="utf-8")
    build(tmp_path / "tokens", fetch(str(texts), None), token_settings())
    layers, sample = [random_layer(_rng(), 6, 3, 3, range(5)) for _ in range(2)], random_sample(_rng(), 3, range(5))
    about = shard_attributes(range(5), 5, 3, shard="0000")
    write_summary(tmp_path / "0000.zarr.zip", layers, n_layers=2, sample=sample, attributes=about)
    code = _STEP_BY_STEP.format(scripts=str(SCRIPTS), steps=QUICK, folder=str(tmp_path), heavy=sorted(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert loaded == {name: [] for name in QUICK}


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_change_of_the_pages_never_asks_for_a_scan() -> None:
    for stage in ("fetch_model", "tokenise", "plan_shards", "scan", "merge", "weights", "recompute"):
        used = modules(SCRIPTS / f"{stage}.py", SCRIPTS)
        assert not [name for name in used if room(name) in ("page", "export", "config", "demo")], stage


def test_stages_use_what_they_should() -> None:
    used = {stage: {room(name) for name in modules(SCRIPTS / f"{stage}.py", SCRIPTS)} for stage in ("scan", "page")}
    assert {"core", "model", "dataset", "scan", "store"} <= used["scan"]
    assert {"core", "page", "store"} <= used["page"]
    assert "scan" not in used["page"]
