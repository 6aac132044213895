"""Twelve edits that people make, for the table of docs/decisions/stages.md: what each makes run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core import digest
from gluscope.stages import lock
from helpers.checkout import REPO

DOC = REPO / "docs/decisions/stages.md"
_LIBRARY = "scripts/gluscope"
_EXPORT = {
    "scripts/export_csv.py": ("", "from gluscope.export.csv import X\n"),
    f"{_LIBRARY}/export/csv.py": ("", "X = 1\n"),
    "rules/csv.smk": ("", 'rule export_csv:\n    output:\n        "results/{run}/export/table.csv",\n'),
    f"{_LIBRARY}/core/paths.py": (
        "    def compared(",
        '    @property\n    def csv(self) -> str:\n        return f"{self.export}/table.csv"\n\n    def compared(',
    ),
}


@dataclass(frozen=True)
class Edit:
    """files: by path, what stands there and what then does; nothing before makes a new file, or adds at the end.

    config: keys of the run instead. new_version: the stage whose results the edit changes, so that its version is
    raised.
    """

    files: dict[str, tuple[str, str]] | None = None
    config: dict[str, Any] | None = None
    new_version: str | None = None


EDITS = {
    "error text (`model/load.py`)": Edit({f"{_LIBRARY}/model/load.py": ('"ask for a larger one"', '"ask for more"')}),
    "docstring (`scan/reduce.py`)": Edit({f"{_LIBRARY}/scan/reduce.py": ('"""From gate', '"""Of gate')}),
    "new export (module, script, rule, a name in `core/paths.py`)": Edit(_EXPORT),
    "page style (`cards.css`)": Edit(
        {f"{_LIBRARY}/page/assets/page/cards.css": ("", "body { color: teal }\n")}, new_version="page"
    ),
    "`k` in the config": Edit(config={"k": 3}),
    "`dtype` in the config": Edit(config={"dtype": "bfloat16"}),
    "`seed` in the config": Edit(config={"seed": 3}),
    "kernel arithmetic (`scan/kernel.py`)": Edit(
        {f"{_LIBRARY}/scan/kernel.py": ("TILE = 32", "TILE = 64")}, new_version="scan"
    ),
    "tokenizer rule (`dataset/tokenise.py`)": Edit(
        {f"{_LIBRARY}/dataset/tokenise.py": ("no_truncation()", "enable_truncation(8)")}, new_version="tokenise"
    ),
    "merge rule (`summary/merge.py`)": Edit(
        {f"{_LIBRARY}/summary/merge.py": ("mine = a > b", "mine = a < b")}, new_version="merge"
    ),
    "weights formula (`weights/classes.py`)": Edit(
        {f"{_LIBRARY}/weights/classes.py": ("THRESHOLD = 0.5", "THRESHOLD = 0.4")}, new_version="weights"
    ),
    "SLURM code (`workflow/queue.py`, the profile)": Edit(
        {
            f"{_LIBRARY}/workflow/queue.py": ('"--me"', '"--user=me"'),
            "profiles/slurm/config.yaml": ("retries: 2", "retries: 3"),
        }
    ),
}


@contextmanager
def edited(repo: Path, edit: Edit) -> Iterator[None]:
    """A checkout with an edit; as before afterwards."""
    before: dict[Path, bytes | None] = {}
    for name, (old, new) in (edit.files or {}).items():
        path = repo / name
        before[path] = path.read_bytes() if path.exists() else None
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert old in text, f"{name} has no {old!r} any more: choose another edit of its kind"
        path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
    try:
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)


def to_decide(repo: Path) -> list[str]:
    """Stages of a checkout that somebody has to decide on, in alphabetical order."""
    for cached in (digest.code_behind, digest.code_on_gpu, digest.modules, lock.digest_of):
        cached.cache_clear()
    return sorted(moved.stage for moved in lock.undecided(lock.Lock.read(repo / lock.LOCK), repo))


def by_content(cached: Any) -> Callable[..., Any]:
    """A function of a file, kept by what is in the file: those that are not edited are looked through once."""
    known: dict[Any, Any] = {}

    def look(path: Path, *more: str) -> Any:
        key = path.read_bytes(), *more
        if key not in known:
            known[key] = cached.__wrapped__(path, *more)
        return known[key]

    return look


def row(name: str, decide: list[str], edit: Edit, plan: dict[str, int]) -> str:
    """A row of the table. plan: jobs by rule of a run with two listed neurons, once the decision is made."""
    order = ["tokenise", "plan_shards", "scan", "merge", "weights", "stage_version", "recompute", "page", "site_index"]
    runs = [rule for rule in order if rule in plan and rule != "stage_version"]
    asks = "nothing" if edit.config else ", ".join(decide) or "nothing"
    decision = f"new version of {edit.new_version}" if edit.new_version else "same results" if decide else "none"
    return f"| {name} | {asks} | {decision} | {', '.join(runs) or 'nothing'} |"
