"""Every command in the docs runs: the `sh` blocks of a page, one after another, in a fresh copy of the repository.

A block that starts with ```sh is run. What needs a cluster is marked ```sh cluster and run by tests/slurm. Output,
config and code stand in blocks of other kinds. ```sh whole is run by tests/workflow/test_whole.py, on its run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from helpers.checkout import PATIENCE, REPO, copy_checkout, small_demo, user_environment

PAGES = sorted([REPO / "README.md", *(REPO / "docs").glob("*.md"), REPO / "config/README.md"])
_BLOCK = re.compile(r"^```(sh[^\n]*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)[^)]*\)")


def commands(page: Path, kind: str = "sh") -> str:
    """All `kind` blocks of a page as one shell script."""
    return "\n".join(body for found, body in _BLOCK.findall(page.read_text(encoding="utf-8")) if found == kind)


def name(page: Path) -> str:
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists() and commands(page)], ids=name)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    # `make test` is this very run; a server is ended with Ctrl-C.
    script = re.sub(r"^make test\b.*$", ":", commands(page), flags=re.M)
    served = r"timeout --signal=INT 20 \1 PORT=0 || test $? = 124"
    script = re.sub(r"^(make browse\b.*)$", served, script, flags=re.M)
    folder = copy_checkout(tmp_path / "gluscope")
    small_demo(folder)
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder, env=user_environment(HOME=str(tmp_path)), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name(page)}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [to for to in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / to).exists()]
    assert not broken


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in commands(REPO / "README.md")
    assert (REPO / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("exec make test")
